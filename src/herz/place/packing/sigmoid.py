"""The sigmoid as integers: which whole percent a logit reaches."""

from __future__ import annotations

from typing import Final

LOGIT_SCALE: Final = 1_000_000_000

# round(10^9 * ln(k / (100 - k))) for k = 51 to 99; the rest is symmetric.
_UPPER: Final = (
    40_005_335,
    80_042_708,
    120_144_312,
    160_342_650,
    200_670_695,
    241_162_057,
    281_851_152,
    322_773_392,
    363_965_377,
    405_465_108,
    447_312_218,
    489_548_225,
    532_216_814,
    575_364_145,
    619_039_208,
    663_294_217,
    708_185_058,
    753_771_802,
    800_119_300,
    847_297_860,
    895_384_047,
    944_461_609,
    994_622_575,
    1_045_968_555,
    1_098_612_289,
    1_152_679_510,
    1_208_311_206,
    1_265_666_373,
    1_324_925_415,
    1_386_294_361,
    1_450_010_176,
    1_516_347_489,
    1_585_627_264,
    1_658_228_077,
    1_734_601_055,
    1_815_289_967,
    1_900_958_761,
    1_992_430_165,
    2_090_741_097,
    2_197_224_577,
    2_313_634_929,
    2_442_347_035,
    2_586_689_344,
    2_751_535_313,
    2_944_438_979,
    3_178_053_830,
    3_476_098_690,
    3_891_820_298,
    4_595_119_850,
)

LOGITS: Final = (*(-logit for logit in reversed(_UPPER)), 0, *_UPPER)
"""For k = 1 to 99: floor(100 * sigmoid(x)) >= k from x = LOGITS[k - 1] / LOGIT_SCALE on."""


def percent_thresholds(unit: int) -> tuple[int, ...]:
    """The least whole d with floor(100 * sigmoid(d / unit)) >= k, for k = 1 to 99.

    How many of them d reaches is the percent.
    """
    return tuple(-(-unit * logit // LOGIT_SCALE) for logit in LOGITS)
