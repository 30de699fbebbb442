import type { TimelineEntry } from '../../src/contract/event.ts'
import type { Life } from '../../src/picture/life.js'

const day = { syscalls: 'any', io: 'unlimited', capabilities: 'none', files: 'none' }
const granted = {
  network: { allow: ['https://api.example.com:443'], deny: [] },
  cpu: 1,
  memory: 128 * 2 ** 20,
  processes: 64,
  ...day,
}
const closed = { ...granted, network: 'none' }

const line = (at: number, event: TimelineEntry['event'], more: Partial<TimelineEntry> = {}) => ({
  at,
  zone: 'main',
  event,
  ...more,
})

const base = { wall: 'process, node', network: [], out: 0 }

/** Sample lives, as reported. */
export const lives: Readonly<Record<string, Life>> = {
  quiet: {
    ...base,
    status: 'ok',
    wall: 'isolate, isolated-vm',
    plan: { controls: closed, phases: [{ name: 'full', for: 5000, controls: {} }], msMax: 5000 },
    timeline: [line(0, 'phase', { phase: 'full' })],
    age: 2.4,
    out: 42,
    cpu: 1.9,
    memory: 1_300_000,
  },
  session: {
    ...base,
    status: 'running',
    plan: {
      controls: granted,
      phases: [
        { name: 'full', for: 180_000, controls: {} },
        { name: 'no-network', for: 300_000, controls: { network: 'none' } },
        { name: 'half-a-core', for: 420_000, controls: { cpu: 0.5 } },
      ],
      msMax: 900_000,
    },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(180_000, 'phase', { phase: 'no-network', controls: { network: 'none' } }),
    ],
    age: 400_000,
    execs: [
      { from: 2000, to: 2040, status: 'ok' },
      { from: 60_000, to: 75_000, status: 'error' },
      { from: 200_000, to: 205_000, status: 'timeout' },
      { from: 390_000, to: 400_000, status: 'running' },
    ],
  },
  anomaly: {
    ...base,
    status: 'terminated',
    reason: 'anomaly high: It tried to send what it read',
    plan: {
      controls: { ...granted, files: { read: ['/work', '/etc'], write: ['/work'] } },
      phases: [
        { name: 'full', for: 10_000, controls: {} },
        { name: 'no-network', for: 5000, controls: { network: { allow: [], deny: [] }, cpu: 0.5 } },
        {
          name: 'sealed',
          for: 5000,
          controls: { files: { read: ['/work'], write: [] }, processes: 1 },
        },
      ],
      msMax: 30_000,
    },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(6004, 'anomaly', {
        reason: 'anomaly medium: It read a credential: /home/job/.aws/credentials',
        fields: { severity: 'medium' },
      }),
      line(6004.2, 'advanced', {
        phase: 'full',
        reason: 'anomaly medium: It read a credential: /home/job/.aws/credentials',
      }),
      line(6004.3, 'phase', { phase: 'no-network' }),
      line(6007, 'tightened', {
        phase: 'no-network',
        controls: { network: { allow: [], deny: [] }, cpu: 0.5 },
        took: 2.7,
      }),
      line(6420, 'denied', { fields: { host: '203.0.113.9', port: 443 } }),
      line(6421, 'anomaly', {
        reason: 'anomaly high: It tried to send what it read',
        fields: { severity: 'high' },
      }),
      line(6440, 'captured', { fields: { kind: 'memory' } }),
      line(6442, 'terminated', { reason: 'anomaly high: It tried to send what it read' }),
    ],
    age: 6442,
    out: 2311,
    cpu: 412,
    memory: 31_400_000,
    network: [
      { host: 'api.example.com', port: 443, verdict: 'allowed', sent: 1200, received: 48_200 },
      { host: '203.0.113.9', port: 443, verdict: 'denied', sent: 0, received: 0 },
    ],
  },
  denied: {
    ...base,
    status: 'ok',
    plan: {
      controls: granted,
      phases: [
        { name: 'full', for: 400, controls: {} },
        { name: 'no-network', for: 600, controls: { network: 'none' } },
      ],
      msMax: 5000,
    },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(400.3, 'phase', { phase: 'no-network' }),
      line(403.1, 'tightened', { phase: 'no-network', controls: { network: 'none' }, took: 2.8 }),
      ...Array.from({ length: 500 }, (_, n) =>
        line(420 + n / 4, 'denied', { fields: { host: 'api.example.com', port: 443 } }),
      ),
    ],
    age: 610,
    out: 900,
    cpu: 44,
    network: [
      { host: 'api.example.com', port: 443, verdict: 'allowed', sent: 310, received: 2048 },
      ...Array.from({ length: 500 }, () => ({
        host: 'api.example.com',
        port: 443,
        verdict: 'denied',
        sent: 0,
        received: 0,
      })),
    ],
  },
  zones: {
    ...base,
    status: 'ok',
    wall: 'isolate, isolated-vm',
    plan: {
      controls: granted,
      phases: [
        { name: 'full', for: 2000, controls: {} },
        { name: 'no-network', for: 3000, controls: { network: 'none' } },
      ],
      msMax: 5000,
      zones: { validation: [{ name: 'brief', for: 200, controls: {} }] },
    },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(3, 'zone', {
        zone: 'input-validation',
        fields: { kind: 'validation' },
        controls: { network: 'none', memory: 16 * 2 ** 20, cpu: 0.5 },
      }),
      line(3, 'phase', { zone: 'input-validation', phase: 'brief' }),
      line(40, 'channel', { fields: { to: 'input-validation', messages: 12 } }),
      line(150, 'tightened', {
        zone: 'input-validation',
        phase: 'brief',
        controls: { cpu: 0.1 },
        took: 0.4,
      }),
      line(203, 'terminated', { zone: 'input-validation', reason: 'its time was over' }),
      line(700, 'frozen', { reason: 'An operator looks at it' }),
      line(1100, 'thawed'),
    ],
    age: 1450,
    out: 64,
    cpu: 900,
    memory: 6_000_000,
  },
  timeout: {
    ...base,
    status: 'timeout',
    reason: '',
    plan: { controls: closed, phases: [{ name: 'full', for: 500, controls: {} }], msMax: 500 },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(501.2, 'terminated', { reason: 'timeout' }),
    ],
    age: 501.2,
    cpu: 499,
  },
  'under-way': {
    ...base,
    status: 'running',
    plan: {
      controls: granted,
      phases: [
        { name: 'full', for: 5000, controls: {} },
        { name: 'no-network', for: 3000, controls: { network: 'none' } },
        { name: 'half-cpu', for: 2000, controls: { cpu: 0.5 } },
      ],
      msMax: 10_000,
    },
    timeline: [
      line(0, 'phase', { phase: 'full' }),
      line(5000.4, 'phase', { phase: 'no-network' }),
      line(5002.5, 'tightened', { phase: 'no-network', controls: { network: 'none' }, took: 2.1 }),
      line(6010, 'denied', { fields: { host: 'api.example.com', port: 443 } }),
    ],
    age: 6400,
    out: 2048,
  },
  blocked: {
    ...base,
    status: 'blocked',
    wall: '',
    reason: 'The code scores 95: VM_ESCAPE',
    plan: { controls: closed, phases: [{ name: 'full', for: 5000, controls: {} }], msMax: 5000 },
    timeline: [],
    age: 0,
  },
}
