// What stands behind a dot of the map: told beside the pointer, and row by row with the slider.
{
  const map = document.getElementById("map");
  if (map) {
    const points = JSON.parse(map.dataset.points);
    const [slider, shown, tip] = ["map-slider", "map-row", "map-tip"].map((id) => document.getElementById(id));
    const rings = [...map.querySelectorAll(".ring")];
    const pictures = rings.map((ring) => ring.ownerSVGElement);
    const names = JSON.parse(map.dataset.kept);
    const words = ([, , number, score, flagged, label, segment, ...kept]) =>
      [
        `row ${number.toLocaleString("en")}`,
        ...kept.map((text, i) => `${names[i]} ${text}`),
        score === null ? "no score" : `score ${score >= 1e3 && score < 1e9 ? Math.round(score).toLocaleString("en") : score}`,
        flagged ? "flagged" : "not flagged",
        label === null ? null : label ? "labelled an anomaly" : "labelled normal",
        segment === null ? null : segment < 0 ? "no segment" : `segment ${segment}`,
      ]
        .filter(Boolean)
        .join(", ");
    const show = (point) => {
      for (const ring of rings) {
        ring.classList.add("shown");
        ring.setAttribute("transform", `translate(${point[0]},${point[1]})`);
      }
      shown.textContent = words(point);
      slider.setAttribute("aria-valuetext", words(point));
    };
    const REACH = 12; // of the picture's units
    for (const picture of pictures) {
      picture.addEventListener("pointermove", (event) => {
        const box = picture.getBoundingClientRect();
        const unit = picture.viewBox.baseVal.width / box.width;
        const [x, y] = [(event.clientX - box.left) * unit, (event.clientY - box.top) * unit];
        const away = (point) => Math.hypot(point[0] - x, point[1] - y);
        const nearest = points.reduce((best, point, i) => (away(point) < away(points[best]) ? i : best), 0);
        tip.hidden = away(points[nearest]) > REACH;
        if (tip.hidden) return;
        slider.value = String(nearest);
        show(points[nearest]);
        tip.textContent = shown.textContent;
        const outer = map.getBoundingClientRect();
        const left = Math.min(event.clientX - outer.left + 12, outer.width - tip.offsetWidth);
        tip.style.left = `${Math.max(left, 0)}px`;
        tip.style.top = `${event.clientY - outer.top + 16}px`;
      });
      picture.addEventListener("pointerleave", () => (tip.hidden = true));
    }
    slider.addEventListener("input", () => show(points[slider.value]));
    show(points[slider.value]);
    slider.parentElement.hidden = false;
  }
}
