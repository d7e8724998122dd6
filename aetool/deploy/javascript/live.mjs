/** A group of a log, drawn: its channels, the score of each row, and what is abnormal. */

const LEFT = 104; // of the names
const LANE = 46; // height of a channel
const MOST_LANES = 8;
const SCORE_HEIGHT = 110;
const FOOT = 22;
const BREAK = 14; // between two runs
const NARROW = 480;
const NAME_LETTERS = 13;
const SVG = "http://www.w3.org/2000/svg";

/**
 * Draw the runs of a group into `svg`, one after another, with a break where there is a gap in time.
 *
 * @param parts {run, score, events} of each run, see log.mjs and moments.mjs
 * @param whenOf (run, moment) => its time as text
 * @param chosen the event that is marked, if any
 */
export function drawGroup(svg, model, parts, whenOf, chosen) {
  const width = Math.max(300, svg.clientWidth);
  const lanes = model.features.slice(0, MOST_LANES);
  const channels = model.features.length;
  const bottom = lanes.length * LANE + SCORE_HEIGHT;
  const total = parts.reduce((sum, { score }) => sum + score.length, 0);
  const step = (width - LEFT - BREAK * (parts.length - 1) - 2) / Math.max(1, total);
  svg.setAttribute("viewBox", `0 0 ${width} ${bottom + FOOT}`);
  svg.replaceChildren();
  const draw = (tag, name, attributes = {}, text = "") => {
    const made = document.createElementNS(SVG, tag);
    made.setAttribute("class", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    svg.append(made);
    return made;
  };
  let begun = LEFT;
  const placed = parts.map((part) => {
    const start = begun;
    begun += part.score.length * step + BREAK;
    return { ...part, x: (moment) => start + moment * step };
  });
  for (const { x, events } of placed) {
    for (const event of events) {
      const [left, right] = [x(event.start), x(event.stop)];
      const made = draw("path", event === chosen ? "shade chosen" : "shade", {
        d: `M${left} 0H${Math.max(right, left + 1)}V${bottom}H${left}Z`,
      });
      made.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: "an event" }));
    }
  }
  const axis = (name, top, height, low, high) => {
    draw("text", "name", { x: 0, y: top + height / 2 + 4 }, name.length > NAME_LETTERS ? `${name.slice(0, NAME_LETTERS - 1)}…` : name);
    draw("text", "tick", { x: LEFT - 6, y: top + 13, "text-anchor": "end" }, short(high));
    draw("text", "tick", { x: LEFT - 6, y: top + height - 5, "text-anchor": "end" }, short(low));
    draw("path", "axis", { d: `M${LEFT} ${top + 4}V${top + height - 4}` });
    return (value) => top + height - 6 - ((height - 12) * (value - low)) / (high - low || 1);
  };
  lanes.forEach(({ name }, lane) => {
    const valueOf = ({ run }) => (moment) => run.samples[moment * channels + lane];
    const y = axis(name, lane * LANE, LANE, ...rangeOf(placed, valueOf));
    for (const part of placed) draw("path", "channel", { d: lineOf(part, valueOf(part), y) });
  });
  const [, highest] = rangeOf(placed, ({ score }) => (moment) => score[moment]);
  const limit = model.rowThreshold;
  const most = Math.max(highest, Number.isFinite(limit) && limit < 1e30 ? 1.2 * limit : 0);
  const y = axis("score", lanes.length * LANE, SCORE_HEIGHT, 0, most);
  for (const part of placed) draw("path", "score", { d: lineOf(part, (moment) => part.score[moment], (score) => y(Math.min(score, most))) });
  draw("path", "limit", { d: `M${LEFT} ${y(Math.min(limit, most))}H${width}` });
  for (const { x } of placed.slice(1)) draw("path", "gap", { d: `M${x(0) - BREAK / 2} 0V${bottom}` });
  draw("path", "axis", { d: `M${LEFT} ${bottom}H${width}` });
  const last = placed.at(-1);
  const ending = (text) => (width < NARROW ? text.replace(/(\d:\d\d):\d\d.*$/, "$1") : text); // without seconds
  draw("text", "tick", { x: LEFT, y: bottom + 16 }, ending(whenOf(placed[0].run, 0)));
  draw("text", "tick", { x: width - 1, y: bottom + 16, "text-anchor": "end" }, ending(whenOf(last.run, last.score.length - 1)));
}

const short = (value) => String(Number(value.toPrecision(3)));

/** A line through the lowest and the highest value at each place of the picture. */
function lineOf({ score, x }, value, y) {
  const size = Math.max(1, Math.floor(score.length / (x(score.length) - x(0)) / 2));
  let [path, isOpen] = ["", false];
  for (let first = 0; first < score.length; first += size) {
    let low, high;
    for (let i = first; i < Math.min(first + size, score.length); i += 1) {
      const now = value(i);
      if (!Number.isFinite(now)) continue;
      if (low === undefined || now < value(low)) low = i;
      if (high === undefined || now > value(high)) high = i;
    }
    const ends = low === undefined ? [] : low === high ? [low] : [Math.min(low, high), Math.max(low, high)];
    if (!ends.length) isOpen = false;
    for (const i of ends) {
      path += `${isOpen ? "L" : "M"}${x(i).toFixed(1)} ${y(value(i)).toFixed(1)}`;
      isOpen = true;
    }
  }
  return path;
}

function rangeOf(parts, valueOf) {
  let [low, high] = [Infinity, -Infinity];
  for (const part of parts) {
    const value = valueOf(part);
    for (let i = 0; i < part.score.length; i += 1) {
      const now = value(i);
      if (!Number.isFinite(now)) continue;
      if (now < low) low = now;
      if (now > high) high = now;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}
