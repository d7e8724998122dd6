/** A log, cut into runs as aetool cuts it in Python: by group, at gaps in time. The windows of a run are the same. */

import { hasNoValue, plainNumber } from "./notation.mjs";
import { rowsOf } from "./csv.mjs";

const SECOND = 1_000_000_000n; // times are counted in nanoseconds
const DAY_MS = 86_400_000;
const UNIX_SECONDS = [946_684_800, 2_208_988_800]; // numbers of this size are seconds since 1970; thousandfold ones are milliseconds
const FEW = 10;
const MOST_REPEATED = 0.01; // share of the rows that may have the time of the row before
const GROUPS_SHOWN = 5;
const ZONE = /(?:Z|[+-]\d{2}(?::?\d{2})?)$/;
const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/;
const OTHERS = [
  [/^(\d{4})\/(\d{1,2})\/(\d{1,2}) (\d{1,2}):(\d{1,2}):(\d{1,2})$/, [1, 2, 3]],
  [/^(\d{1,2})\.(\d{1,2})\.(\d{4}) (\d{1,2}):(\d{1,2}):(\d{1,2})$/, [3, 2, 1]],
  [/^(\d{1,2})\.(\d{1,2})\.(\d{4}) (\d{1,2}):(\d{1,2})$/, [3, 2, 1]],
  [/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/, [1, 2, 3]],
];
const grouped = (count) => count.toLocaleString("en-US");

/**
 * The runs of a log: `runs` of {group, rows, times, samples}, and `notes`, what was found that is not as usual.
 *
 * `rows` are places in the file, counted from 0, `times` nanoseconds (BigInt; undefined where the model has no time),
 * `samples` flat; `textsOf(times)` writes times as Python does, `count` is that of all rows.
 */
export function logOf(file, model, progress) {
  const { time, group, gap, every, window } = model.manifest.series;
  if (every) {
    throw new Error(`the model takes one row every ${every} s, the mean of what was logged: aetool score makes them, in Python`);
  }
  const wanted = [time, group].filter(Boolean);
  const { count, numbers, notes, kept } = rowsOf(file, model, progress, wanted);
  if (!count) throw new Error("a header and no rows: add rows below it");
  const absent = wanted.filter((name) => !(name in kept));
  if (absent.length) {
    const whose = (name) => (name === time ? "which orders the rows and shows gaps" : "which tells whose rows they are");
    const named = absent.map((name) => `'${name}', ${whose(name)}`).join(", and ");
    throw new Error(`missing column${absent.length > 1 ? "s" : ""} ${named}: give the log as the model was trained on it`);
  }
  const { times, kind } = time ? timesOf(kept[time], time) : {};
  const places = new Map();
  for (let row = 0; row < count; row += 1) {
    const text = group ? kept[group][row] : "";
    const name = hasNoValue(text) ? "" : text;
    if (!places.has(name)) places.set(name, []);
    places.get(name).push(row);
  }
  const textsOf = (values) => (kind === "number" ? values.map((value) => String(Number(value) / 1e9)) : datesOf(values));
  const seen = { gaps: 0, repeated: 0, short: new Map() };
  const cut = (rows, name) => (times ? cutAtGaps(rows, times, gap, seen, name, textsOf) : [rows]);
  const runs = [];
  for (const [name, own] of places) {
    for (const rows of cut(own, name)) {
      if (rows.length < window) seen.short.set(name, (seen.short.get(name) ?? 0) + 1);
      else runs.push({ group: group ? name : null, rows, times: times && rows.map((row) => times[row]), samples: samplesOf(rows, numbers, model) });
    }
  }
  if (seen.repeated > Math.max(FEW, MOST_REPEATED * count)) {
    const why = group ? "leave out all but one" : "only a model with a column of groups tells machines apart";
    throw new Error(`${grouped(seen.repeated)} of ${grouped(count)} rows have the time of the row before; ${why}`);
  }
  if (!runs.length) throw new Error(`no window of ${window} rows: every stretch without a gap is shorter; add rows`);
  return { runs, count, textsOf: times ? textsOf : undefined, notes: [...notes, ...notesOnCut(seen, window)] };
}

/** What was found, in the words of Python. */
function notesOnCut({ gaps, repeated, short }, window) {
  const names = [...short.keys()].filter(Boolean);
  const more = names.length > GROUPS_SHOWN ? ` and ${names.length - GROUPS_SHOWN} more` : "";
  const of = names.length ? ` of ${names.slice(0, GROUPS_SHOWN).map((name) => `'${name}'`).join(", ")}${more}` : "";
  const count = [...short.values()].reduce((sum, value) => sum + value, 0);
  return [
    ...(gaps ? [`${grouped(gaps)} gap${gaps > 1 ? "s" : ""} in time; no window crosses one`] : []),
    ...(repeated ? [`${grouped(repeated)} rows have the time of the row before and are left out`] : []),
    ...(count ? [`${grouped(count)} run${count > 1 ? "s" : ""}${of} shorter than a window of ${window} rows: skipped`] : []),
  ];
}

function samplesOf(rows, numbers, { features, inputShape }) {
  const channels = features.length || inputShape[1];
  const samples = new Float32Array(rows.length * channels);
  rows.forEach((row, i) => samples.set(numbers.subarray(row * channels, (row + 1) * channels), i * channels));
  return samples;
}

/** The rows of a group, a list for each stretch without a gap; those that repeat a time are left out. */
function cutAtGaps(rows, times, gap, seen, name, textsOf) {
  const limit = gap === null || gap === undefined ? Infinity : gap * 1e9;
  const found = [[rows[0]]];
  for (let i = 1; i < rows.length; i += 1) {
    const step = times[rows[i]] - times[rows[i - 1]];
    if (step < 0n) {
      const [before, now] = textsOf([times[rows[i - 1]], times[rows[i]]]);
      const of = name ? ` in '${name}'` : "";
      throw new Error(`row ${rows[i] + 1}: time goes back from ${before} to ${now}${of}; sort the log`);
    }
    if (step === 0n) seen.repeated += 1;
    else if (Number(step) > limit) {
      seen.gaps += 1;
      found.push([rows[i]]);
    } else found.at(-1).push(rows[i]);
  }
  return found;
}

// Times

/** The times of a column in one notation, in nanoseconds, and of which kind they are: zoned, local, unix or number. */
function timesOf(texts, name) {
  const empty = texts.indexOf("");
  if (empty >= 0) throw new Error(`row ${empty + 1}, column '${name}': no time; fill the cell, or leave the row out`);
  const zoned = texts.map((text) => text.includes(":") && ZONE.test(text));
  const mixed = [zoned.indexOf(true), zoned.indexOf(false)];
  if (!mixed.includes(-1) && texts.every((text) => isoTime(text) !== undefined)) {
    const [one, two] = mixed.map((place) => `'${texts[place]}'`);
    throw new Error(`column '${name}' mixes times with and without a time zone (${one} and ${two}): write them all one way`);
  }
  const forms = [isoTime, ...OTHERS.map(([form, order]) => (text) => otherTime(text, form, order))];
  const whole = (form) => {
    const found = [];
    return texts.every((text) => found.push(form(text)) && found.at(-1) !== undefined) ? found : undefined;
  };
  const numbers = whole((text) => (Number.isFinite(plainNumber(text)) ? plainNumber(text) : undefined));
  if (numbers) return fromNumbers(numbers, texts, name);
  for (const form of forms) {
    const times = whole(form);
    if (times) return { times, kind: zoned[0] ? "zoned" : "local" };
  }
  const odd = Math.max(0, texts.findIndex((text) => forms.every((form) => form(text) === undefined)));
  throw new Error(
    `row ${odd + 1}, column '${name}': '${texts[odd].slice(0, 40)}' is not read as a time; ` +
      "write it as 2026-01-31 12:00:00, or as a number of seconds",
  );
}

function fromNumbers(numbers, texts, name) {
  const size = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0);
  for (const power of [0, 3, 6, 9]) {
    if (size < UNIX_SECONDS[0] * 10 ** power || size > UNIX_SECONDS[1] * 10 ** power) continue;
    const areWhole = texts.every((text) => /^-?\d+$/.test(text));
    const exact = (text) => BigInt(text) * 10n ** BigInt(9 - power);
    // float64 holds such times to a microsecond, not to a nanosecond.
    const rounded = (number) => BigInt(halfEven(number * 10 ** (6 - power))) * 1000n;
    return { times: areWhole ? texts.map(exact) : numbers.map(rounded), kind: "unix" };
  }
  if (size > 9.2e9) throw new Error(`column '${name}': ${size} is too large for seconds`);
  return { times: numbers.map((number) => BigInt(halfEven(number * 1e9))), kind: "number" };
}

/** A number rounded as numpy rounds it. */
function halfEven(number) {
  const low = Math.floor(number);
  const rest = number - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** A date in ISO 8601 as nanoseconds since 1970, in UTC where it has a zone; undefined where it is none. */
function isoTime(text) {
  const found = ISO.exec(text);
  if (!found) return undefined;
  const [, year, month, day, hour = 0, minute = 0, second = 0, fraction = "", zone] = found;
  const time = nanoseconds(year, month, day, hour, minute, second);
  if (time === undefined || !zone || zone === "Z") return time && time + BigInt(fraction.padEnd(9, "0"));
  const [hours, minutes] = [zone.slice(1, 3), zone.slice(3).replace(":", "") || "0"].map(Number);
  const ahead = BigInt((hours * 60 + minutes) * 60) * SECOND * (zone[0] === "-" ? -1n : 1n);
  return time - ahead + BigInt(fraction.padEnd(9, "0"));
}

function otherTime(text, form, [year, month, day]) {
  const found = form.exec(text);
  return found ? nanoseconds(found[year], found[month], found[day], found[4], found[5], found[6] ?? 0) : undefined;
}

function nanoseconds(...parts) {
  const [year, month, day, hour, minute, second] = parts.map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const seconds = (hour * 60 + minute) * 60 + second;
  return BigInt((date.getTime() / DAY_MS) * 86_400 + seconds) * SECOND;
}

/** Dates as text, `2026-01-31 12:00:00`, all to the second, or to the same part of one. */
function datesOf(times) {
  const size = [SECOND, 1_000_000n, 1_000n].find((unit) => times.every((time) => time % unit === 0n)) ?? 1n;
  const digits = String(SECOND / size).length - 1;
  return times.map((time) => {
    const inside = ((time % SECOND) + SECOND) % SECOND;
    const date = new Date(Number((time - inside) / 1_000_000n)).toISOString().slice(0, 19).replace("T", " ");
    return digits ? `${date}.${String(inside).padStart(9, "0").slice(0, digits)}` : date;
  });
}
