"""The page of a comparison: all points and ticks lie in the picture, and changed decisions are seen."""

import re

from portraits import BUNDLE, samples

from aetool.decisions import Goal, calibrate, compare
from aetool.report.comparison import comparison_page
from aetool.report.draw import svg


def test_points_and_ticks_stand_where_their_scores_are_and_changes_are_diamonds(tmp_path):
    rows, _ = samples()
    calibrate(BUNDLE, goal=Goal(threshold=0.35), output=tmp_path / "new")
    found = compare(BUNDLE, tmp_path / "new", rows, timed=False)
    changed = len(found.now_flagged) + len(found.no_longer_flagged)
    html = comparison_page(found, "samples.csv")
    picture = html[html.index("<svg") : html.index("</svg>")]
    places = [float(x) for x in re.findall(r"translate\(([-0-9.]+),", picture)]
    assert changed and max(places) <= svg.WIDTH
    assert picture.count('class="dot s1"') == changed
    middles = [float(x) for x in re.findall(r'<text x="([0-9.]+)"[^>]*text-anchor="middle"', picture)]
    assert middles[:-1] == sorted(set(middles[:-1]))
