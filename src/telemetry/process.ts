import type { Reading } from './instrument.ts'
import { gauge } from './meters.ts'

/** Readings of this process, named by the semantic conventions. */
export function processReadings(): readonly Reading[] {
  const { user, system } = process.cpuUsage()
  return [
    {
      name: 'process.cpu.time',
      description: 'CPU time of the server',
      unit: 's',
      kind: 'counter',
      series: [
        { labels: { 'cpu.mode': 'user' }, value: user / 1e6 },
        { labels: { 'cpu.mode': 'system' }, value: system / 1e6 },
      ],
    },
    gauge('process.memory.usage', 'Resident memory of the server', 'By', process.memoryUsage.rss()),
    gauge('process.uptime', 'Time since the server started', 's', process.uptime()),
  ]
}
