/** A row that is an image, as found and as expected, and the difference: three canvases, one dot a pixel. */

const HIGHER = [194, 80, 10]; // colours of differences
const LOWER = [11, 98, 164];

/** Height, width, and where a number stands: `at(row, column, channel)`. Channels are first, or last. */
function pixelsOf(shape) {
  if (shape.length === 2) return { height: shape[0], width: shape[1], channels: 1, at: (y, x) => y * shape[1] + x };
  const [first, second, third] = shape;
  if (first <= third) {
    return { height: second, width: third, channels: first, at: (y, x, channel) => (channel * second + y) * third + x };
  }
  return { height: first, width: second, channels: third, at: (y, x, channel) => (y * second + x) * third + channel };
}

/** Show a row in `parts`: {found, expected, difference}, each a canvas; returns the scale and the largest difference. */
export function showImages(parts, shape, found, expected) {
  const { height, width, channels, at } = pixelsOf(shape);
  const finite = [...found, ...expected].filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const grey = (value) => (255 * ((Number.isFinite(value) ? value : low) - low)) / (high - low || 1);
  const mean = (y, x, value) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) sum += value(at(y, x, channel));
    return sum / channels;
  };
  const paint = (canvas, colour) => {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) image.data.set(colour(y, x), 4 * (y * width + x));
    }
    context.putImageData(image, 0, 0);
  };
  for (const [name, values] of Object.entries({ found, expected })) {
    paint(parts[name], (y, x) => {
      if (channels === 3) return [0, 1, 2].map((channel) => grey(values[at(y, x, channel)])).concat(255);
      const shade = grey(mean(y, x, (place) => values[place]));
      return [shade, shade, shade, 255];
    });
  }
  const apart = (place) => (Number.isFinite(found[place]) ? found[place] - expected[place] : 0);
  const size = (y, x) => mean(y, x, (place) => Math.abs(apart(place)));
  let largest = 0;
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) largest = Math.max(largest, size(y, x));
  paint(parts.difference, (y, x) => [...(mean(y, x, apart) < 0 ? LOWER : HIGHER), (255 * size(y, x)) / (largest || 1)]);
  return { low, high, largest };
}
