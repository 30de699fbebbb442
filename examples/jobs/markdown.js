import { marked } from './marked.js'

export default (input) => marked.parse(input.text)
