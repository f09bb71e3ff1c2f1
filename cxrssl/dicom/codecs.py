"""The transfer syntaxes that we read, the package that decodes each, and whether it is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from cxrssl.core.errors import SetupError

RLE = "1.2.840.10008.1.2.5"
BASELINE, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSSLESS_SYNTAXES = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_PACKAGE = "simplejpeg"
"""Not known to pydicom: it decodes the JPEG files that are no DICOM too."""
SYNTAXES: dict[str, tuple[str, str]] = {
    "1.2.840.10008.1.2": ("implicit VR", ""),
    "1.2.840.10008.1.2.1": ("explicit VR", ""),
    BASELINE: ("JPEG baseline", JPEG_PACKAGE),
    EXTENDED: ("JPEG extended", "pylibjpeg-libjpeg"),
    LOSSLESS_SYNTAXES[0]: ("JPEG lossless", "pylibjpeg-libjpeg"),
    LOSSLESS_SYNTAXES[1]: ("JPEG lossless SV1", "pylibjpeg-libjpeg"),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS lossless", "pyjpegls"),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS near-lossless", "pyjpegls"),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 lossless", "pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", "pylibjpeg-openjpeg"),
    RLE: ("RLE", "pylibjpeg-rle"),
}
"""Transfer syntax -> our name for it, and the package that decodes it, "" where none is needed. Each has one decoder:
other installed packages change no pixel. Not read: deflated and big-endian files, videos, HTJ2K, JPEG XL."""
PACKAGES = ("pydicom", "pylibjpeg", *sorted({package for _, package in SYNTAXES.values()} - {""}))


def find_codecs() -> dict[str, str]:
    """Return name of a transfer syntax -> "" where it can be decoded here, else the package that is missing."""
    return {name: _missing_package(uid) for uid, (name, _) in SYNTAXES.items()}


def check_codecs(uids: Iterable[str]) -> None:
    """Check that films of these transfer syntaxes can be decoded here; syntaxes that we never read are ignored.

    Raises: SetupError naming what to install, or when what is installed cannot be loaded.
    """
    missing = {uid: package for uid in sorted({*uids} & {*SYNTAXES}) if (package := _missing_package(uid))}
    if missing:
        names, packages = ", ".join(SYNTAXES[uid][0] for uid in missing), ", ".join(sorted({*missing.values()}))
        raise SetupError(f"no codec for DICOM films in {names}", hint=f"install {packages}")


def plugin(uid: str) -> str:
    """Return pydicom's word for the package that decodes this transfer syntax."""
    return SYNTAXES[uid][1].partition("-")[0]


def codec_versions() -> str:
    """Return what DICOM pixels depend on besides our code, such as "pydicom 3.0.2, pylibjpeg-libjpeg none"."""
    return ", ".join(f"{package} {_version(package)}" for package in PACKAGES)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _missing_package(uid: str) -> str:
    try:
        from pydicom.pixels.decoders.base import get_decoder
    except Exception as error:  # pylibjpeg loads whatever is installed as its plug-in
        raise SetupError(f"the DICOM codecs cannot be loaded: {error}", hint=f"install {', '.join(PACKAGES)}") from None
    package = SYNTAXES[uid][1]
    if package == JPEG_PACKAGE:
        return "" if find_spec(package) else package
    return package if package and plugin(uid) not in get_decoder(uid).available_plugins else ""
