// From the outputs of an artefact for one picture to probabilities, as recipes/artefacts.py does it.

// `output` is what the artefact says of its output. Logits are divided by the temperature.
export function toProbabilities(outputs, output) {
  const { kind, temperature = 1, multi_label: severalLabels = false } = output;
  if (kind !== "logits") {
    return outputs;
  }
  const scores = Float64Array.from(outputs, (value) => value / temperature);
  return severalLabels ? scores.map((score) => 1 / (1 + Math.exp(-score))) : softmax(scores);
}

function softmax(scores) {
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
