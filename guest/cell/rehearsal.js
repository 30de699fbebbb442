/**
 * Typical job for a throw-away cell, to compile and cache the code it uses.
 * @type {import('./job.js').Task}
 */
export const REHEARSAL = {
  language: 'js',
  entry: 'body',
  code: `
    console.log('%s', { input, list: [1, 'two', null] })
    return { text: 'a', number: 1, list: [true, null], date: new Date(0) }`,
  inputText: '{}',
  files: [],
  capabilities: [],
  timeoutMs: 1000,
  outputBytesMax: 1024,
  resultBytesMax: 1024,
}
