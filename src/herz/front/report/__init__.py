"""The HTML report: one file, no network, useful without JavaScript.

`markup` escapes, `series` shortens, `plot`, `bars` and `heatmap` draw, `charts`
and `tables` choose what is drawn, `page` puts it together.
"""

from herz.front.report.page import render

__all__ = ["render"]
