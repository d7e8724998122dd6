// The threshold moves with the slider (mouse, touch, keyboard), and with a press or a drag on the picture.
{
  const slider = document.getElementById("threshold-slider");
  const byId = (id) => document.getElementById(id);
  const share = (part, of) => {
    if (!of) return "none";
    const value = (part / of) * 100;
    return `${value.toFixed(1)}\u00a0%`;
  };
  const figure = (value) =>
    value > 3.4e38 ? "none set" : value >= 1e3 && value < 1e9 ? Math.round(value).toLocaleString("en") : String(value); // six digits already
  if (slider) {
    const [thresholds, flagged, hits] = ["thresholds", "flagged", "hits"].map((key) =>
      JSON.parse(slider.dataset[key] ?? "null"),
    );
    const [rows, anomalies] = [Number(slider.dataset.rows), Number(slider.dataset.anomalies ?? 0)];
    const { things } = slider.dataset;
    const [start, end] = slider.dataset.line.split(",").map(Number);
    const line = byId("threshold-line");
    const place = (id, x, y) => {
      const mark = byId(id);
      if (!mark) return;
      const [left, right, bottom, top] = mark.dataset.box.split(",").map(Number);
      mark.setAttribute("transform", `translate(${left + x * (right - left)},${bottom + y * (top - bottom)})`);
    };
    const tell = () => {
      const stop = Number(slider.value);
      const count = flagged[stop];
      const whole = (value) => value.toLocaleString("en");
      const said = {
        threshold: figure(thresholds[stop]),
        flagged: `${whole(count)} of ${whole(rows)} (${share(count, rows)})`,
      };
      const tiles = { flagged: [share(count, rows), `${whole(count)} of ${whole(rows)} ${things}`] };
      if (hits) {
        const hit = hits[stop];
        const normal = rows - anomalies;
        said.precision = `${share(hit, count)} of the flagged ${things} are anomalies`;
        said.recall = `${share(hit, anomalies)} of the anomalies are flagged`;
        said.false = `${whole(count - hit)}, ${share(count - hit, normal)} of the normal ${things}`;
        said["true-positives"] = whole(hit);
        said["false-negatives"] = whole(anomalies - hit);
        said["false-positives"] = whole(count - hit);
        said["true-negatives"] = whole(normal - count + hit);
        const kind = things === "rows" ? "" : ` (${things})`;
        tiles.recall = [share(hit, anomalies), `${whole(hit)} of ${whole(anomalies)} anomalies${kind}`];
        tiles.precision = [share(hit, count)];
        place("roc-mark", (count - hit) / normal, hit / anomalies);
        place("precision-recall-mark", hit / anomalies, count ? hit / count : 1);
      }
      for (const [key, text] of Object.entries(said)) byId(`does-${key}`).textContent = text;
      for (const [key, texts] of Object.entries(tiles)) {
        texts.forEach((text, i) => {
          const tile = byId(`tile-${key}-${i}`);
          if (tile) tile.textContent = text;
        });
      }
      const command = byId("does-command");
      if (command) command.textContent = command.dataset.start + String(thresholds[stop]);
      const own = thresholds[slider.dataset.own];
      byId("tiles-at").textContent =
        stop === Number(slider.dataset.own)
          ? byId("tiles-at").dataset.own
          : `At the threshold ${said.threshold} (the bundle's: ${figure(own)})`;
      const spoken = `${said.threshold}: flags ${said.flagged}`;
      slider.setAttribute("aria-valuetext", hits ? `${spoken}; ${said.precision}; ${said.recall}` : spoken);
      line.setAttribute("transform", `translate(${start + (stop / slider.max) * (end - start)},0)`);
    };
    const move = (event) => {
      const box = line.ownerSVGElement.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * line.ownerSVGElement.viewBox.baseVal.width;
      slider.value = String(Math.round(((x - start) / (end - start)) * slider.max));
      tell();
    };
    const picture = line.ownerSVGElement;
    picture.classList.add("draggable");
    picture.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      picture.setPointerCapture(event.pointerId);
      move(event);
    });
    picture.addEventListener("pointermove", (event) => {
      if (picture.hasPointerCapture(event.pointerId)) move(event);
    });
    slider.addEventListener("input", tell);
    const reset = byId("threshold-reset");
    reset.addEventListener("click", () => {
      slider.value = slider.dataset.own;
      tell();
      byId("threshold-said").textContent = slider.getAttribute("aria-valuetext");
    });
    const copy = byId("threshold-copy");
    if (copy) {
      copy.hidden = false;
      copy.addEventListener("click", async () => {
        const command = byId("does-command");
        getSelection().selectAllChildren(command); // where the clipboard is closed to pages, Ctrl+C copies
        await navigator.clipboard?.writeText(command.textContent).then(
          () => (byId("threshold-said").textContent = "Copied"),
          () => {},
        );
      });
    }
    slider.parentElement.hidden = false;
    tell();
  }
}
