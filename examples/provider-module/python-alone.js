/**
 * A wall for Python alone, without a network: the process wall of Mayfly under a name of its own. Jobs that need more
 * than is declared here are given to another wall.
 *
 * @type {import('mayfly').ProviderModule}
 */
export default {
  name: 'python-alone',
  on: 'process',
  languages: ['python'],
  can: ['files', 'artifacts', 'stdin'],
  isByNameAlone: true,
  probe: {
    language: 'python',
    entry: 'function',
    code: 'import json\ndef main(input): return json.loads(input["text"])["n"] * 2',
    input: { text: '{"n": 21}' },
    expect: 42,
  },
}
