// Regular expressions over a long text.
export default () => {
  const text = 'On 2024-05-06 ada@example.com paid 12.50 to bob@example.org. '.repeat(4000)
  const found = ['\\d{4}-\\d\\d-\\d\\d', '[\\w.]+@[\\w.]+', '\\d+\\.\\d\\d']
  return found.map((pattern) => text.match(new RegExp(pattern, 'g')).length)
}
