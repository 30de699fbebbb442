/** Resident memory of this process since a mark, for jobs that are over before the first sample from outside. */
const usage = process.resourceUsage.bind(process)
const resident = process.memoryUsage.rss.bind(process.memoryUsage)
const { max } = Math

/** @typedef {{ peak: number, resident: number }} MemoryMark */

/** @returns {MemoryMark} */
export function markMemory() {
  return { peak: peakBytes(), resident: residentNow() }
}

/** Bytes above the mark. The peak is of the whole life: one that did not rise since says nothing. @param {MemoryMark} before */
export function peakSince(before) {
  const peak = peakBytes()
  return max(0, (peak > before.peak ? peak : residentNow()) - before.resident)
}

const peakBytes = () => usage().maxRSS * 1024

/** The peak where the wall shows no /proc/self, as one without namespaces does. */
function residentNow() {
  try {
    return resident()
  } catch {
    return peakBytes()
  }
}
