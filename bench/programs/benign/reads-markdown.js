// packages: marked
// A long text through a published package.
import { marked } from 'marked'

export default () => {
  const text = '# Title\n\nSome *words* and a [link](https://example.com).\n\n- one\n- two\n\n'
  return marked.parse(text.repeat(300)).length
}
