"""Tables from records and references; `svft-bench table NAME` prints one."""
