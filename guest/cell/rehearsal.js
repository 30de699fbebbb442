/**
 * What jobs usually do, done once in a cell that is thrown away, so that its code is compiled and cached.
 *
 * @type {import('../cell.js').Task}
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
