/** From windows to a score for each moment, and to events: the numbers of aetool/runtime/moments.py. */

const WINDOWS_AT_ONCE = 256;
const EVENT_SMOOTHING = [3, 5]; // as in aetool/runtime/moments.py

/** [K, N]: a row is abnormal in an event where K of the last N are above the threshold, unless other numbers are given. */
export const smoothingOf = (model) => (model.scoresRows ? EVENT_SMOOTHING : [1, 1]);

/**
 * The scores of the moments of a run: {score, maximum, scores}, Float32Arrays; NaN where no window covers one.
 *
 * `score` is the mean of the windows that cover a moment. Where the bundle has a threshold for rows, it is the geometric
 * mean of that and of what the moment itself contributes to them, times the length of a window. `maximum` is the highest
 * score of these windows, `scores` are those of all windows.
 */
export async function momentsOfRun(model, { samples }) {
  const { window, stride } = model.manifest.series;
  const byRow = model.scoresRows;
  const channels = samples.length && model.width / window;
  const count = Math.floor((samples.length / channels - window) / stride) + 1;
  const scores = byRow ? new Float32Array(count) : await model.stream().push(samples);
  const length = (count - 1) * stride + window;
  const [sum, own, number] = [0, 1, 2].map(() => new Float64Array(length));
  const maximum = new Float32Array(length).fill(-Infinity);
  for (let first = 0; first < count; first += WINDOWS_AT_ONCE) {
    const last = Math.min(first + WINDOWS_AT_ONCE, count);
    const each = byRow && contributionsOf(await explained(model, samples, first, last), window, channels);
    for (let i = first; i < last; i += 1) {
      if (byRow) scores[i] = each.scores[i - first];
      for (let place = 0; place < window; place += 1) {
        const moment = i * stride + place;
        sum[moment] += scores[i];
        number[moment] += 1;
        maximum[moment] = Math.max(maximum[moment], scores[i]);
        if (byRow) own[moment] += each.own[(i - first) * window + place];
      }
    }
  }
  const score = new Float32Array(length);
  for (let moment = 0; moment < length; moment += 1) {
    const mean = sum[moment] / number[moment];
    score[moment] = byRow ? Math.sqrt(mean * ((window * own[moment]) / number[moment])) : mean;
    if (!number[moment]) maximum[moment] = NaN;
  }
  return { score, maximum, scores };
}

/** What each number of some windows contributes to their scores, flat. */
async function explained(model, samples, first, last) {
  const { window, stride } = model.manifest.series;
  const { width } = model;
  const rows = new Float32Array((last - first) * width);
  for (let i = first; i < last; i += 1) {
    const begin = i * stride * (width / window);
    rows.set(samples.subarray(begin, begin + width), (i - first) * width);
  }
  return (await model.run("explainer", rows)).contribution.data;
}

/** {scores, own}: those of windows, and what each moment contributes to them; added up in the order of Python. */
function contributionsOf(contribution, window, channels) {
  const own = new Float64Array(contribution.length / channels);
  for (let i = 0; i < contribution.length; i += 1) own[Math.floor(i / channels)] += contribution[i];
  const scores = new Float64Array(own.length / window);
  own.forEach((value, i) => (scores[Math.floor(i / window)] += value));
  return { scores: Float32Array.from(scores), own };
}

/** The first and the last window that would cover a moment. */
function windowsAt(moment, window, stride) {
  return [-Math.floor((window - 1 - moment) / stride), Math.floor(moment / stride)];
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
 * @param moments what `momentsOfRun` gives
 * @param smooth [K, N]: an event begins with the first of K in the last N moments above the threshold, and ends with
 *     the last one
 */
export async function eventsOfRun(model, { samples }, { score, maximum, scores }, smooth = smoothingOf(model)) {
  const { window, stride } = model.manifest.series;
  const odd = Array.from(score, (value, i) => !(value <= model.rowThreshold) && i % stride < window);
  const abnormal = smoothed(odd, smooth);
  const found = [];
  abnormal.forEach((is, i) => {
    if (is && !abnormal[i - 1]) {
      let start = Math.max(i - smooth[1] + 1, found.at(-1)?.stop ?? 0);
      while (!odd[start]) start += 1;
      found.push({ start, peak: start });
    }
    if (is && odd[i]) found.at(-1).stop = i + 1;
  });
  for (const event of found) {
    for (let i = event.start; i < event.stop; i += 1) if (height(score[i]) > height(score[event.peak])) event.peak = i;
    event.score = score[event.peak];
    event.highest = maximum.subarray(event.start, event.stop).reduce((most, value) => Math.max(most, value), -Infinity);
    event.channels = model.graphs.includes("explainer") ? await channelsOf(model, samples, scores, event.peak) : [];
  }
  return found;
}

const height = (score) => (Number.isNaN(score) ? Infinity : score);

async function channelsOf(model, samples, scores, peak) {
  const { window, stride } = model.manifest.series;
  const channels = model.width / window;
  const [first, last] = windowsAt(peak, window, stride);
  let best = Math.max(0, first);
  for (let i = best; i <= Math.min(last, scores.length - 1); i += 1) if (height(scores[i]) > height(scores[best])) best = i;
  if (!model.scoresRows && scores[best] <= model.threshold) return [];
  const contribution = await explained(model, samples, best, best + 1);
  const isOdd = contribution.some((value) => !Number.isFinite(value));
  const weights = new Float64Array(channels); // what is no finite number counts before all others, in equal parts
  contribution.forEach((value, i) => (weights[i % channels] += isOdd ? !Number.isFinite(value) : value));
  const total = weights.reduce((sum, value) => sum + value, 0);
  const share = Array.from(weights, (value) => (total > 0 && Number.isFinite(total) ? value / total : 0));
  const order = [...share.keys()].sort((a, b) => share[b] - share[a] || a - b);
  return order.map((place) => ({ name: model.features[place]?.name ?? `channel ${place + 1}`, share: share[place] }));
}
