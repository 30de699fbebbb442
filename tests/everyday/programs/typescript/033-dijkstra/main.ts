import { Graph } from './graph'

const cities = ['Oslo', 'Bergen', 'Stockholm', 'Malmo', 'Copenhagen', 'Helsinki', 'Reykjavik'] as const
type City = (typeof cities)[number]

const g = new Graph<City>()
  .edge('Oslo', 'Bergen', 463)
  .edge('Oslo', 'Stockholm', 522)
  .edge('Oslo', 'Malmo', 560)
  .edge('Stockholm', 'Malmo', 613)
  .edge('Malmo', 'Copenhagen', 44)
  .edge('Stockholm', 'Helsinki', 480, true)

const queries: [City, City][] = [
  ['Bergen', 'Copenhagen'],
  ['Bergen', 'Helsinki'],
  ['Helsinki', 'Oslo'],
  ['Oslo', 'Reykjavik'],
  ['Malmo', 'Malmo'],
]

for (const [a, b] of queries) {
  const r = g.shortest(a, b)
  console.log(r ? `${a} → ${b}: ${r.path.join(' → ')} (${r.cost} km)` : `${a} → ${b}: no way 🚫`)
}
console.log(g.nodes().length, 'nodes')
try { g.edge('Oslo', 'Malmo', -1) } catch (e) { console.log(`${e}`) }
