"""`aetool compression`: what it prints and refuses."""

import json


def test_it_tells_bytes_and_errors_of_every_format(aetool, made, work):
    result = aetool("compression", made / "bundle", made / "new.csv", "--label", "broken")
    assert result.exit_code == 0, result.output
    for word in ("features", "embedding, fp32", "embedding, fp16", "embedding, int8", "16"):
        assert word in result.stdout


def test_json_has_the_scale_that_int8_needs(aetool, made, work):
    found = json.loads(aetool("compression", made / "bundle", made / "new.csv", "--json").stdout)
    assert [one["format"] for one in found["formats"]] == ["fp32", "fp16", "int8"]
    assert len(found["scale"]) * 4 == found["formats"][0]["bytes_per_row"]


def test_a_checkpoint_has_no_compression(fails, made):
    assert "a bundle is expected" in fails("compression", made / "checkpoint", made / "new.csv")
