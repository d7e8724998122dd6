/** A log played through a stream: its channels, the score of each window, and what is abnormal, drawn as it comes. */

const WIDTH = 960;
const LANE = 34; // height of a channel
const MOST_LANES = 8;
const SCORE = 120; // height of the scores
const FRAMES = 60; // of a log, at most
const SVG = "http://www.w3.org/2000/svg";

/** The stretches of windows that are abnormal: {start, end, peak, score}, samples counted from 0. */
export function eventsOf(ends, scores, threshold) {
  const found = [];
  scores.forEach((score, i) => {
    if (score <= threshold) return;
    const last = found.at(-1);
    if (!last || last.window !== i - 1) found.push({ start: ends[i], peak: ends[i], score });
    else if (!(score <= last.score)) Object.assign(last, { peak: ends[i], score });
    Object.assign(found.at(-1), { end: ends[i], window: i });
  });
  return found;
}

/**
 * Play samples (flat) into `svg`.
 *
 * @param isOver () => whether something else is to be played
 * @param show (events, done) => what to do with the events so far
 */
export async function playLog(svg, model, samples, { isOver, show }) {
  const { features, threshold } = model;
  const channels = features.length;
  const count = samples.length / channels;
  const lanes = features.slice(0, MOST_LANES);
  const top = lanes.length * LANE;
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${top + SCORE}`);
  svg.replaceChildren();
  const draw = (tag, name, attributes = {}) => {
    const made = document.createElementNS(SVG, tag);
    made.setAttribute("class", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
    return made;
  };
  const x = (sample) => (WIDTH * sample) / Math.max(1, count - 1);
  const shades = draw("path", "shade");
  const lines = lanes.map(({ name }, lane) => {
    const [low, high] = rangeOf(samples, lane, channels);
    const y = (value) => (lane + 0.9 - (0.8 * (value - low)) / (high - low || 1)) * LANE;
    const path = draw("path", "channel");
    draw("text", "name", { x: 4, y: (lane + 0.4) * LANE }).textContent = name;
    return { path, y, lane };
  });
  const ends = [];
  const scores = [];
  let most = 2 * Math.max(threshold, Number.MIN_VALUE);
  const y = (score) => top + SCORE - 4 - (SCORE - 12) * Math.min(1, Number.isNaN(score) ? 1 : score / most);
  const score = draw("path", "score");
  const limit = draw("path", "limit");
  const stream = model.stream();
  const step = Math.ceil(count / FRAMES);
  for (let first = 0; first < count; first += step) {
    const last = Math.min(count, first + step);
    const fresh = await stream.push(samples.subarray(first * channels, last * channels));
    if (isOver()) return;
    fresh.forEach((value) => {
      ends.push(model.inputShape[0] - 1 + scores.length * model.manifest.series.stride);
      scores.push(value);
    });
    most = scores.reduce((found, value) => (Number.isFinite(value) && value > found ? value : found), most);
    for (const { path, y: height, lane } of lines) {
      path.setAttribute("d", lineOf(last, (i) => samples[i * channels + lane], x, height));
    }
    score.setAttribute("d", lineOf(scores.length, (i) => scores[i], (i) => x(ends[i]), y));
    limit.setAttribute("d", `M0 ${y(threshold)}H${WIDTH}`);
    const events = eventsOf(ends, scores, threshold);
    shades.setAttribute("d", events.map(({ start, end }) => `M${x(start)} 0H${x(end) + 1}V${top + SCORE}H${x(start)}Z`).join(""));
    show(events, last === count);
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

/** A line through at most two values for each point of the picture's width. */
function lineOf(count, value, x, y) {
  const stride = Math.max(1, Math.floor(count / (2 * WIDTH)));
  let path = "";
  for (let i = 0; i < count; i += stride) {
    const now = value(i);
    if (!Number.isFinite(now) && !Number.isNaN(y(now)) && path) path += `L${x(i).toFixed(1)} ${y(now).toFixed(1)}`;
    else if (Number.isFinite(now)) path += `${path ? "L" : "M"}${x(i).toFixed(1)} ${y(now).toFixed(1)}`;
  }
  return path;
}

function rangeOf(samples, lane, channels) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = lane; i < samples.length; i += channels) {
    if (samples[i] < low) low = samples[i];
    if (samples[i] > high) high = samples[i];
  }
  return low <= high ? [low, high] : [0, 1];
}
