const light = {
  card: '#ffffff',
  line: '#dbe2df',
  text: '#16211e',
  quiet: '#566762',
  good: '#0d7a43',
  warn: '#8f5600',
  bad: '#b3261e',
  wide: '#0f8b7d',
  mid: '#3f7fae',
  tight: '#7464c4',
}
const dark = {
  card: '#182027',
  line: '#2b3640',
  text: '#e4ebe8',
  quiet: '#95a5a0',
  good: '#56d693',
  warn: '#f1b452',
  bad: '#ff8f86',
  wide: '#2fb9a6',
  mid: '#5c9fd0',
  tight: '#9a8df0',
}

/** Style sheet of a picture: the page's colours, by the reader's preferred scheme. */
export const style = [
  rule('svg', light),
  `@media(prefers-color-scheme:dark){${rule('svg', dark)}}`,
  "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:var(--text);paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}",
  '.word{font-size:17px;font-weight:700}.say{font-size:13.5px}.small{font-size:12px}.tick{font-size:11px;fill:var(--quiet)}',
  '.phase,.zone,.kind{font-weight:600}.kind{font-size:12.5px}.end{text-anchor:end}.middle{text-anchor:middle}',
  '.quiet,.calm{fill:var(--quiet)}.good{fill:var(--good)}.warn{fill:var(--warn)}.bad{fill:var(--bad)}',
  '.phase .quiet{font-weight:400}.figures{font-variant-numeric:tabular-nums}',
  '.card{fill:var(--card);stroke:var(--line)}',
  '.grid,.rule,.axis{stroke:var(--line);fill:none}.lead{stroke:var(--quiet);opacity:.6}',
  '.t3{fill:var(--wide)}.t2{fill:var(--mid)}.t1,.t0{fill:var(--tight)}',
  '.ghost{fill:none;stroke:var(--quiet);stroke-dasharray:3 3;opacity:.55}.ghost.cutoff{fill:url(#off);opacity:1}',
  '.hatch{stroke:var(--quiet);opacity:.4;fill:none}.frozen{fill:var(--card);opacity:.6}',
  '.border{stroke:var(--card);stroke-width:2}.cut{fill:none;stroke:var(--bad);stroke-width:2}',
  '.stop{stroke-width:3;fill:none}.stop.good{stroke:var(--good)}.stop.warn{stroke:var(--warn)}.stop.bad{stroke:var(--bad)}',
  '.seal{stroke:var(--card);stroke-width:2}.mark{fill:var(--card);font-size:11px;font-weight:700;stroke:none}',
  '.bracket{fill:none;stroke:var(--warn)}.now{stroke:var(--text);stroke-width:1.5;stroke-dasharray:4 3}.nowhead{fill:var(--text)}',
  '.knee{fill:none;stroke:var(--quiet);stroke-width:1.5}',
  '.event{fill:var(--card);stroke:var(--quiet);stroke-width:1.5}.event.bad{fill:var(--bad);stroke:none}.event.warn{fill:var(--warn);stroke:none}',
  '.number{font-size:11px;font-weight:700;fill:var(--text);stroke:none}.number.bad,.number.warn{fill:var(--card)}',
  '.bar{fill:none;stroke-width:7}.bar.open{stroke:var(--wide)}.bar.narrowed{stroke:var(--mid);stroke-width:3.5}.bar.closed{stroke:var(--quiet);stroke-width:2;stroke-dasharray:1.5 4}',
  '.step{stroke:var(--text);stroke-width:1.5}.wait{stroke:var(--bad);stroke-width:7;opacity:.5}text.closed{fill:var(--quiet)}',
].join('')

/** Style of execs, which most lives lack. */
export const execStyle =
  '.exec{fill:var(--text);stroke:var(--card);stroke-width:.5}.exec.bad{fill:var(--bad)}.exec.warn{fill:var(--warn)}'

/** @param {string} selector @param {Readonly<Record<string, string>>} colours */
function rule(selector, colours) {
  const names = Object.entries(colours).map(([name, value]) => `--${name}:${value}`)
  return `${selector}{${names.join(';')}}`
}
