"""`aetool evaluate --compression`: what it prints, writes and refuses."""

import json
from xml.etree import ElementTree


def test_it_tells_bytes_and_errors_of_every_format(aetool, made, work):
    result = aetool("evaluate", made / "bundle", made / "new.csv", "--compression", "--label", "broken")
    assert result.exit_code == 0, result.output
    for word in ("features", "embedding, fp32", "embedding, fp16", "embedding, int8", "16"):
        assert word in result.stdout


def test_json_has_the_scale_that_int8_needs(aetool, made, work):
    found = json.loads(aetool("evaluate", made / "bundle", made / "new.csv", "--compression", "--json").stdout)
    assert [one["format"] for one in found["formats"]] == ["fp32", "fp16", "int8"]
    assert len(found["scale"]) * 4 == found["formats"][0]["bytes_per_row"] and found["plot"] is None


def test_the_plot_is_one_svg_file_with_every_format(aetool, fails, made, work):
    command = ("evaluate", made / "bundle", made / "new.csv", "--compression", "--plot", "sent.svg")
    assert aetool(*command).exit_code == 0
    texts = [one.text for one in ElementTree.parse(work / "sent.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"features", "fp32", "fp16", "int8", "bytes of a row"} <= set(texts)
    assert "sent.svg: exists already" in fails(*command)
    assert aetool(*command, "--overwrite").exit_code == 0


def test_a_checkpoint_has_no_compression(fails, made):
    assert "a bundle is expected" in fails("evaluate", made / "checkpoint", made / "new.csv", "--compression")


def test_a_plot_of_nothing_is_refused(aetool, made):
    assert aetool("evaluate", made / "bundle", made / "new.csv", "--plot", "x.svg").exit_code == 2
