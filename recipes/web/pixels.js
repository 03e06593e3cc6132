// From a picture's file to the numbers that a model takes, as keras_convnextv2.data reads images:
// Pillow's bicubic resize of a centred box, to the last bit, then (x / 255 - mean) / std.

const PRECISION_BITS = 22; // of Pillow's fixed-point coefficients: 32 - 8 - 2
const SUPPORT = 2; // pixels to each side that the bicubic filter reaches

// The pixels of an image file, upright and in their own colour space: {width, height, data: RGBA}.
// Throws an Error in words where the browser cannot read it.
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    });
  } catch (error) {
    throw new Error(
      `${file.name} cannot be read as a picture. Choose a JPEG, PNG, WebP, GIF or BMP file.`,
      { cause: error },
    );
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) {
    throw new Error(`${file.name} is too large for this browser: ${width} x ${height} pixels.`);
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  try {
    return { width, height, data: context.getImageData(0, 0, width, height).data };
  } catch (error) {
    throw new Error(`${file.name} is too large for this browser: ${width} x ${height} pixels.`, {
      cause: error,
    });
  }
}

// Resizes a picture so that it just covers width x height, and crops the centre.
export function cover(picture, width, height) {
  const scale = Math.max(height / picture.height, width / picture.width);
  const boxWidth = Math.min(picture.width, width / scale);
  const boxHeight = Math.min(picture.height, height / scale);
  const left = (picture.width - boxWidth) / 2;
  const top = (picture.height - boxHeight) / 2;
  return resizeBox(picture, [left, top, left + boxWidth, top + boxHeight], width, height);
}

// What the model is given for a picture that covers its size: a typed array (height, width, C).
export function toInput(picture, input) {
  const channels = input.shape[3];
  const count = picture.width * picture.height;
  const pixels = new Uint8Array(count * channels);
  for (let place = 0; place < count; place++) {
    const [red, green, blue] = picture.data.subarray(4 * place, 4 * place + 3);
    if (channels === 1) {
      pixels[place] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16; // Pillow's grey
    } else {
      pixels.set([red, green, blue], 3 * place);
    }
  }
  if (input.dtype === "uint8") {
    return pixels;
  }
  const scales = Float32Array.from(input.std, (std) => 1 / (255 * std));
  const shifts = Float32Array.from(input.mean, (mean, channel) => mean / input.std[channel]);
  return Float32Array.from(pixels, (value, place) => {
    const channel = place % channels;
    return Math.fround(value * scales[channel]) - shifts[channel];
  });
}

// Pillow's Image.resize((width, height), BICUBIC, box): rows first, then columns, 8 bits between.
function resizeBox(picture, box, width, height) {
  const [left, top, right, bottom] = Float32Array.from(box);
  const columns = coefficients(picture.width, left, right, width);
  const rows = coefficients(picture.height, top, bottom, height);
  const first = rows[0].start;
  const last = rows.at(-1).start + rows.at(-1).weights.length;
  let { data } = picture;
  let stride = picture.width;
  if (width !== picture.width || left !== 0 || right !== width) {
    data = new Uint8ClampedArray(4 * width * picture.height);
    for (let y = first; y < last; y++) {
      for (let x = 0; x < width; x++) {
        blend(picture.data, 4 * (y * stride + columns[x].start), 4, columns[x].weights, data, 4 * (y * width + x));
      }
    }
    stride = width;
  }
  if (height === picture.height && top === 0 && bottom === height) {
    return { width, height, data };
  }
  const resized = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      blend(data, 4 * (rows[y].start * stride + x), 4 * stride, rows[y].weights, resized, 4 * (y * width + x));
    }
  }
  return { width, height, data: resized };
}

// One pixel as the weighted sum of pixels `step` apart; opaque.
function blend(source, start, step, weights, target, place) {
  const half = 2 ** (PRECISION_BITS - 1);
  let red = half;
  let green = half;
  let blue = half;
  for (let index = 0, from = start; index < weights.length; index++, from += step) {
    red += source[from] * weights[index];
    green += source[from + 1] * weights[index];
    blue += source[from + 2] * weights[index];
  }
  target[place] = red >> PRECISION_BITS; // clamped to 0..255 by the array
  target[place + 1] = green >> PRECISION_BITS;
  target[place + 2] = blue >> PRECISION_BITS;
  target[place + 3] = 255;
}

// For each output position: where its first input is, and the inputs' weights as integers.
function coefficients(inputSize, from, to, outputSize) {
  const scale = Math.fround(to - from) / outputSize;
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  return Array.from({ length: outputSize }, (_, place) => {
    const center = from + (place + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), inputSize);
    const values = Array.from({ length: end - start }, (_, index) =>
      bicubic((index + start - center + 0.5) * (1 / filterScale)),
    );
    const sum = values.reduce((total, value) => total + value, 0);
    const weights = values.map((value) => {
      const fixed = (value / sum) * 2 ** PRECISION_BITS;
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return { start, weights };
  });
}

function bicubic(distance) {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
