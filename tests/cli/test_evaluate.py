"""`aetool evaluate` calls its figures what they are, for every kind of model."""

import json


def test_figures_are_called_what_they_are(aetool, made):
    given = (made / "new.csv", "--label", "broken")
    shown = aetool("evaluate", made / "bundle", *given)
    assert shown.exit_code == 0, shown.output
    assert "reconstruction error" not in shown.stdout
    for words in ("median score of normal rows", "reconstruction RMSE, in the rows' units", "AUROC", "score  "):
        assert words in shown.stdout
    found = json.loads(aetool("evaluate", made / "bundle", *given, "--json").stdout)
    assert found["score"].startswith("mean over features of the squared difference between the standardised row")
    scores = json.loads(aetool("score", made / "bundle", made / "new.csv", "--keep", "broken", "--json").stdout)[
        "data"
    ]
    normal = sorted(score for score, broken in zip(scores["score"], scores["broken"], strict=True) if not broken)
    middle = len(normal) // 2
    median = (normal[middle - 1] + normal[middle]) / 2 if len(normal) % 2 == 0 else normal[middle]
    assert abs(found["median_score"] - median) < 1e-6


def test_a_checkpoint_has_figures_too(aetool, made):
    found = json.loads(
        aetool("evaluate", made / "checkpoint", made / "new.csv", "--label", "broken", "--json").stdout
    )
    assert found["median_score"] > 0 and "score" not in found
