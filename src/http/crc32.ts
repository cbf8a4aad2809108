// The CRC-32 of two byte strings together, from the CRC-32 of each: what zlib's crc32_combine does, which Node does not offer.
// A CRC is a remainder in GF(2)[x]; appending n bytes multiplies what came before by x^(8n). Bits are reflected, as in zlib.

/** The polynomial of gzip, without its x^32. */
const POLYNOMIAL = 0xed_b8_83_20;
/** The polynomial 1, reflected; one place to the right is x. */
const ONE = 0x80_00_00_00;

/** x^(2^k) for k = 0 to 31; after that they repeat, as x has the order 2^32 - 1. */
const SQUARES = squares();

/** The CRC-32 of `before` followed by `after`, which is so many bytes long. */
export function appendCrc32(before: number, after: number, bytes: number): number {
  return (multiply(power(bytes), before) ^ after) >>> 0;
}

/** x^(8 · bytes). */
function power(bytes: number): number {
  let product = ONE;
  for (let rest = bytes, k = 3; rest > 0; rest = Math.floor(rest / 2), k += 1)
    if (rest % 2 === 1) product = multiply(SQUARES[k % 32] ?? ONE, product);
  return product;
}

function multiply(left: number, right: number): number {
  let product = 0;
  let shifted = right;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((left >>> bit) & 1) product ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product >>> 0;
}

function squares(): readonly number[] {
  const list = [ONE >>> 1];
  while (list.length < 32) {
    const last = list.at(-1) ?? ONE;
    list.push(multiply(last, last));
  }
  return list;
}
