// Figures from few noisy runs: medians, percentiles, and how sure a ratio of pairs is.

/** The middle value; of an even number, the mean of the two in the middle. NaN for none. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** By linear interpolation between the two nearest ranks. NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (sorted.length - 1) * share;
  const below = sorted[Math.floor(rank)] ?? Number.NaN;
  const above = sorted[Math.ceil(rank)] ?? Number.NaN;
  return below === above ? below : below + (above - below) * (rank - Math.floor(rank));
}

export interface Ratio {
  readonly median: number;
  /** The ratio is above this with 95 % confidence, … */
  readonly lower: number;
  /** … and below this. Both are NaN for fewer than two pairs. */
  readonly upper: number;
  readonly pairs: number;
}

/**
 * `ours[i] / theirs[i]`, where the two were measured one after the other. The bounds are Student's, on the logarithms: what
 * disturbs a run multiplies its figure.
 */
export function ratioOfPairs(ours: readonly number[], theirs: readonly number[]): Ratio {
  const ratios = ours.flatMap((value, i) => {
    const other = theirs[i];
    return other === undefined ? [] : [value / other];
  });
  const logs = ratios.map(Math.log);
  const n = logs.length;
  const mean = logs.reduce((sum, log) => sum + log, 0) / n;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (n - 1);
  const margin = studentT95(n - 1) * Math.sqrt(variance / n);
  return {
    median: median(ratios),
    lower: Math.exp(mean - margin),
    upper: Math.exp(mean + margin),
    pairs: n,
  };
}

/** One-sided 95 % quantiles of Student's t by degrees of freedom, from 1 on. */
const T95 = [
  6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761,
  1.753, 1.746, 1.74, 1.734, 1.729, 1.725,
];

function studentT95(degrees: number): number {
  if (degrees < 1) return Number.NaN;
  return T95[degrees - 1] ?? 1.725;
}
