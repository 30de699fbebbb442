import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readSettings } from './settings.ts'

/** As in its documentation, with fields for other systems. */
const whole = {
  network: {
    allowedDomains: ['github.com', '*.npmjs.org', 'api.example.com:8443', '[2001:db8::1]:443'],
    deniedDomains: ['malicious.com', '*:22'],
    allowUnixSockets: ['/var/run/docker.sock'],
    allowLocalBinding: false,
    deniedResolvedAddresses: ['10.0.0.0/8'],
  },
  filesystem: {
    denyRead: ['~/.ssh', '**/*.secret', 'build/**'],
    allowRead: ['.'],
    allowWrite: ['.', 'src/**', '/tmp'],
    denyWrite: ['config/production.json'],
  },
  ignoreViolations: { '*': ['/usr/bin'] },
  enableWeakerNestedSandbox: false,
  allowAppleEvents: false,
}
const read = (changes: Record<string, unknown>) =>
  readSettings(JSON.stringify({ ...whole, ...changes }), 'srt.json')

test('Settings of sandbox-runtime are read unchanged', () => {
  const rules = read({
    credentials: {
      files: ['~/.netrc', 'tokens/**'].map((path) => ({ path, mode: 'deny' })),
      envVars: [{ name: 'NPM_TOKEN', mode: 'mask' }],
    },
  })
  assert.deepEqual(rules, {
    read: ['.'],
    write: ['.', 'src', '/tmp'],
    hidden: ['~/.ssh', 'build'],
    closed: [
      { path: '~/.netrc', to: 'all' },
      { path: 'tokens', to: 'all' },
      { path: 'config/production.json', to: 'write' },
    ],
    secretNames: ['*.secret'],
    allow: [
      '*://github.com:*',
      '*://*.npmjs.org:*',
      '*://api.example.com:8443',
      '*://[2001:db8::1]:443',
    ],
    deny: ['*://malicious.com:*', '*://*:22'],
    withoutVariables: ['NPM_TOKEN'],
    withoutPrivateHosts: true,
    notes: ['Credentials with mode "mask" are closed as with "deny"'],
  })
})

test('A setting that would widen access is ignored, and an unknown one is reported', () => {
  const { notes } = read({
    network: { ...whole.network, allowAllUnixSockets: true, narrowNext: 1 },
    filesystem: { ...whole.filesystem, disabled: true, allowGitConfig: true },
    credentials: { closeAll: true },
    closeMore: true,
  })
  const fields = notes.map((note) => /^Setting "([\w.]+)" is (ignored|unknown)/.exec(note))
  assert.deepEqual(
    fields.map((found) => found?.[1]),
    [
      'filesystem.disabled',
      'filesystem.allowGitConfig',
      'network.allowAllUnixSockets',
      'closeMore',
      'network.narrowNext',
      'credentials.closeAll',
    ],
  )
})

test('A restricting setting that cannot be enforced is refused by name', () => {
  const { network, filesystem } = whole
  const refused: readonly (readonly [RegExp, Record<string, unknown>])[] = [
    [/network\.httpProxyPort/, { network: { ...network, httpProxyPort: 8080 } }],
    [/network\.mitmProxy/, { network: { ...network, mitmProxy: { socketPath: '/x' } } }],
    [
      /deniedResolvedAddresses.*"8\.8\.8\.0\/24" is not a private range/,
      { network: { ...network, deniedResolvedAddresses: ['8.8.8.0/24'] } },
    ],
    ...['0.0.0.0/0', '10.0.0.0/4', 'fc00::/6', '10.0.0.0/x', 'intranet'].map(
      (range) =>
        [
          /deniedResolvedAddresses.* is not a private range/,
          { network: { ...network, deniedResolvedAddresses: [range] } },
        ] as const,
    ),
    [
      /"credentials\.files".*"\*\*\/\*\.token" is not a path/,
      { credentials: { files: [{ path: '**/*.token', mode: 'deny' }] } },
    ],
    [/"\*\*\/gen\/\*" is not a path/, { filesystem: { ...filesystem, denyWrite: ['**/gen/*'] } }],
    [/Cannot enforce "src\/\*\/x"/, { filesystem: { ...filesystem, denyRead: ['src/*/x'] } }],
    [/"network": /, { network: undefined }],
    [/"filesystem\.allowWrite": /, { filesystem: { ...filesystem, allowWrite: 'src' } }],
    [/is not a host/, { network: { ...network, allowedDomains: ['a.example:b'] } }],
  ]
  for (const [message, changes] of refused) {
    const made = () => read(changes)
    assert.throws(made, { code: 'USAGE', message }, JSON.stringify(changes))
  }
  assert.throws(() => readSettings('{', 'srt.json'), { code: 'USAGE', message: /it is not JSON/ })
})
