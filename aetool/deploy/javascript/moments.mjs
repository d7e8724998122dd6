/** From scores of windows to a score for each moment, and to events: the numbers of aetool/runtime/moments.py. */

/** Scores of the windows that cover each moment of a run: {mean, maximum}, Float32Arrays, NaN where none does. */
export function momentScores(scores, length, window, stride) {
  const most = Math.ceil(window / stride);
  const overs = [...new Set([most, Math.floor(window / stride)])].filter(Boolean).map((size) => ({
    size,
    sum: over(scores, size, (a, b) => a + b, 0),
    highest: over(scores, size, Math.max, -Infinity),
  }));
  const mean = new Float32Array(length).fill(NaN);
  const maximum = mean.slice();
  for (let moment = 0; moment < length; moment += 1) {
    const [first, last] = windowsAt(moment, window, stride);
    const number = Math.min(last, scores.length - 1) - Math.max(first, 0) + 1;
    const found = number > 0 && overs.find(({ size }) => size === last - first + 1);
    if (!found) continue;
    mean[moment] = found.sum[last] / number;
    maximum[moment] = found.highest[last];
  }
  return { mean, maximum };
}

/** The first and the last window that would cover a moment. */
function windowsAt(moment, window, stride) {
  return [-Math.floor((window - 1 - moment) / stride), Math.floor(moment / stride)];
}

/** What `combine` makes of the values from i - size + 1 to i, in the order of sums in Python; those outside are `nothing`. */
function over(values, size, combine, nothing) {
  let level = new Float64Array(values.length + 2 * (size - 1)).fill(nothing); // of 1, 2, 4, ... values from each on
  level.set(values, size - 1);
  const length = values.length + size - 1;
  let found;
  for (let [left, at, width] = [size, 0, 1]; left; left >>= 1) {
    if (left & 1) {
      const part = level.subarray(at, at + length);
      found = found ? found.map((value, i) => combine(value, part[i])) : part.slice();
      at += width;
    }
    if (left > 1) {
      level = level.subarray(0, level.length - width).map((value, i) => combine(value, level[i + width]));
      width *= 2;
    }
  }
  return found;
}

/** For each place, whether `least` or more of the last `of` flags are set, its own included. */
function smoothed(flags, [least, of]) {
  let count = 0;
  return flags.map((flag, i) => {
    count += flag - (i >= of ? flags[i - of] : 0);
    return count >= least;
  });
}

/**
 * The events of one run: {start, stop, peak, score, highest, channels}, moments counted from 0, `stop` after the last.
 *
 * `channels` are {name, share} by the highest window behind the peak, the largest first; none without an explainer.
 *
 * @param smooth [K, N]: a moment is abnormal where K of the last N are
 */
export async function eventsOfRun(model, { samples }, scores, smooth) {
  const { window, stride } = model.manifest.series;
  const channels = samples.length && model.width / window;
  const length = (scores.length - 1) * stride + window;
  const { mean, maximum } = momentScores(scores, length, window, stride);
  const odd = Array.from(mean, (score, i) => !(score <= model.threshold) && i % stride < window);
  const flags = smooth ? smoothed(odd, smooth) : odd;
  const found = [];
  flags.forEach((flag, i) => {
    if (!flag) return;
    if (!flags[i - 1]) found.push({ start: i, peak: i });
    const event = found.at(-1);
    event.stop = i + 1;
    if (height(mean[i]) > height(mean[event.peak])) event.peak = i;
  });
  for (const event of found) {
    event.score = mean[event.peak];
    event.highest = maximum.subarray(event.start, event.stop).reduce((most, score) => Math.max(most, score), -Infinity);
    event.channels = model.graphs.includes("explainer") ? await channelsOf(model, samples, scores, event.peak, channels) : [];
  }
  return { events: found, mean };
}

const height = (score) => (Number.isNaN(score) ? Infinity : score);

async function channelsOf(model, samples, scores, peak, channels) {
  const { window, stride } = model.manifest.series;
  const [first, last] = windowsAt(peak, window, stride);
  let best = Math.max(0, first);
  for (let i = best; i <= Math.min(last, scores.length - 1); i += 1) if (height(scores[i]) > height(scores[best])) best = i;
  if (scores[best] <= model.threshold) return [];
  const [{ contribution }] = await model.explain(samples.slice(best * stride * channels, (best * stride + window) * channels));
  const isOdd = contribution.some((value) => !Number.isFinite(value));
  const weights = new Float64Array(channels); // what is no finite number counts before all others, in equal parts
  contribution.forEach((value, i) => (weights[i % channels] += isOdd ? !Number.isFinite(value) : value));
  const total = weights.reduce((sum, value) => sum + value, 0);
  const share = Array.from(weights, (value) => (total > 0 && Number.isFinite(total) ? value / total : 0));
  const order = [...share.keys()].sort((a, b) => share[b] - share[a] || a - b);
  return order.map((place) => ({ name: model.features[place]?.name ?? `channel ${place + 1}`, share: share[place] }));
}
