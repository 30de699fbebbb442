import { existsSync, readFileSync } from 'node:fs'
import { attempt } from '../lib/attempt.ts'

/**
 * Frequency of this machine's time stamp counter in kHz, for `tsc_early_khz`: a guest under TCG that calibrates it
 * while the host is busy measures a wrong value, and half of parallel boots hung. Undefined if unknown.
 *
 * Sources, most reliable first: sysfs of kernels that expose it, the base frequency of intel_pstate, the name of the
 * CPU, and `cpu MHz` if no governor changes it, as in virtual machines.
 */
export function hostTscKhz(): number | undefined {
  const cpu = '/sys/devices/system/cpu/cpu0'
  const named = [`${cpu}/tsc_freq_khz`, `${cpu}/cpufreq/base_frequency`].map(textOf)
  const info = textOf('/proc/cpuinfo')
  const gigahertz = /^model name\s*:.*@ (\d+\.\d+)GHz/m.exec(info)?.[1]
  const megahertz = /^cpu MHz\s*:\s*(\d+\.\d+)/m.exec(info)?.[1]
  const found = [
    ...named.map((text) => Number(text)),
    Number(gigahertz ?? 0) * 1e6,
    existsSync(`${cpu}/cpufreq`) ? 0 : Number(megahertz ?? 0) * 1000,
  ]
  return found.map(Math.round).find((khz) => khz >= khzMin && khz <= khzMax)
}

const khzMin = 100_000
const khzMax = 10_000_000

function textOf(file: string): string {
  return attempt(() => readFileSync(file, 'utf8')) ?? ''
}
