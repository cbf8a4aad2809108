// Many things, some at a time, so that others may run in between.

/** Stored in some milliseconds. */
const SLICE = 500;

export function* slices<T>(all: Iterable<T>): Generator<T[]> {
  let slice: T[] = [];
  for (const each of all) {
    slice.push(each);
    if (slice.length < SLICE) continue;
    yield slice;
    slice = [];
  }
  if (slice.length > 0) yield slice;
}
