/** Which features a row's score is due to, ranked as aetool does it in Python. */

/**
 * The `count` features that contribute most to a row's score, the largest first: positions in the row.
 *
 * First come values that are no finite number and spoil their contribution; then contributions that overflow, the
 * farthest first; then the others by contribution.
 */
export function largest({ contribution, expected, found }, count) {
  const ranks = Array.from(contribution, (weight, place) => {
    if (Number.isFinite(weight)) return { place, kind: 2, weight };
    if (!Number.isFinite(found[place])) return { place, kind: 0, weight: 0 };
    // A huge value may make anything of what is expected: that counts where it brings the two nearer only.
    const apart = Math.abs(found[place] - expected[place]);
    const size = Math.abs(found[place]);
    return { place, kind: 1, weight: apart < size ? apart : size };
  });
  ranks.sort((a, b) => a.kind - b.kind || b.weight - a.weight || a.place - b.place);
  return ranks.slice(0, count).map(({ place }) => place);
}

/** Each feature's share of the score, 0 to 1; 0 where the score is 0 or no number. */
export function shares(contribution) {
  const score = contribution.reduce((sum, weight) => sum + weight, 0);
  return Array.from(contribution, (weight) => {
    const share = weight / score;
    return Number.isFinite(share) ? share : 0;
  });
}

/** What the numbers of a row are called: 3, or 0,12,5, where features have no names. */
export function labelsOf({ features, inputShape, width }) {
  if (features.length && features.length < width) {
    return Array.from({ length: width }, (_, i) => `${features[i % features.length].name}, ${Math.floor(i / features.length) + 1}`);
  }
  if (features.length) return features.map(({ name }) => name);
  return Array.from({ length: width }, (_, place) => {
    const index = [];
    for (const size of [...inputShape].reverse()) {
      index.unshift(place % size);
      place = Math.floor(place / size);
    }
    return index.join(",");
  });
}

/** The shortest decimal of a float32: 0.1, not 0.10000000149. */
export function shortest(number) {
  for (let digits = 6; digits < 10; digits += 1) {
    const text = Number(number.toPrecision(digits));
    if (Math.fround(text) === number) return text;
  }
  return number;
}
