import { programZonesMax, residualMax, zoneNameMax } from '../../contract/zone-limits.ts'
import type { ProgramZone, Residual, ZoneSplit } from '../../contract/zones.ts'
import type { Binding, Node, Tree } from '../syntax.ts'
import { closureOf, nodesIn, type Closure, type ClosureContext } from './closed.ts'
import { Flow } from './flow.ts'
import { kindOf, usesOf } from './kind.ts'
import { bindingOf, isAwaited, isInside, namesOf, nameRoleOf } from './names.ts'
import { programOf, type ProgramTraits } from './program.ts'
import { hasStrayFunction, isMadeOnce, topOf, type TopFunction } from './top.ts'
import { loosening, zoneGlobals } from './builtin-names.ts'

/** Programs with more top-level functions are left whole. */
const functionsMax = 256

export interface SplitRequest {
  readonly program: Node
  /** Annotated by `bindScopes`. */
  readonly tree: Tree
  /** Maps an offset of the parsed text to the source. */
  readonly place: (offset: number) => { readonly offset: number; readonly line: number }
  /** Reason why no wall supports zones for it; its functions are then only reported. */
  readonly refusal?: string | undefined
}

/**
 * Splits a program where the split cannot be observed. A top-level function becomes a zone if only its calls
 * tie it to the rest: it touches no mutated binding, no `this`, no global but the ones equal everywhere; its
 * arguments and results are copyable data; and each caller awaits it in place, in a sequential program.
 * Everything else stays in the residual zone, with the reason.
 *
 * The result holds positions in the source only, so that the code that cuts adds nothing that the user did not
 * write.
 */
export function split(request: SplitRequest): ZoneSplit {
  const { program, tree } = request
  const top = topOf(program, tree)
  const names = namesOf(tree)
  const flow = new Flow(names, top.entries)
  const byBinding = new Map<Binding, TopFunction>()
  for (const one of top.functions) byBinding.set(bindingOf(one.id)!, one)
  const parts: ClosureContext = { top, names, flow, byBinding }
  const whole = programOf(tree, names, flow, top.entries)
  const refusal = request.refusal ?? whole.why ?? refusedFor(request, parts)
  return new Splitting(request, parts, whole, refusal).result()
}

function refusedFor({ tree }: SplitRequest, { top, names }: ClosureContext): string | undefined {
  if (top.functions.length > functionsMax) return 'the program has too many functions'
  if (hasStrayFunction(tree, top, names)) return 'a function in a block has a name that is taken'
  const isTaken = [...names.bound.keys()].some(({ name }) => name === 'call')
  return isTaken ? 'the program gives "call" another meaning' : undefined
}

interface Need {
  readonly zones: ReadonlySet<TopFunction>
  readonly copies: ReadonlySet<TopFunction>
}

class Splitting {
  readonly #request: SplitRequest
  readonly #parts: ClosureContext
  readonly #whole: ProgramTraits
  readonly #why = new Map<TopFunction, string>()
  readonly #closures = new Map<TopFunction, Closure>()
  readonly #inside = new Map<TopFunction, readonly Node[]>()
  readonly #zones = new Set<TopFunction>()

  constructor(
    request: SplitRequest,
    parts: ClosureContext,
    whole: ProgramTraits,
    refusal: string | undefined,
  ) {
    this.#request = request
    this.#parts = parts
    this.#whole = whole
    const { functions } = parts.top
    for (const one of functions) {
      if (refusal !== undefined) this.#why.set(one, refusal)
      else this.#consider(one)
    }
    if (refusal === undefined) this.#settle()
  }

  result(): ZoneSplit {
    const zones = [...this.#zones].map((one) => this.#described(one))
    const { functions, classes } = this.#parts.top
    for (const one of classes) this.#why.set(one, 'it is a class')
    const residual = [...functions, ...classes]
      .filter((one) => !this.#zones.has(one))
      .slice(0, residualMax)
      .map((one): Residual => this.#stayed(one))
      .toSorted((a, b) => a.line - b.line)
    return { zones, residual, calls: this.#calledByRest() }
  }

  #stayed(one: TopFunction): Residual {
    const inside = this.#nodesOf(one)
    const kind = kindOf(one.name, inside, usesOf(inside))
    return { ...this.#lines(one), kind, why: this.#why.get(one) ?? '' }
  }

  #nodesOf(one: TopFunction): readonly Node[] {
    const { tree } = this.#request
    const inside = ({ node }: TopFunction) => nodesIn(node, tree, tree.indexOf(node))
    return this.#inside.getOrInsertComputed(one, inside)
  }

  #consider(one: TopFunction): void {
    const inside = this.#nodesOf(one)
    this.#closures.set(one, closureOf(one, inside, this.#parts))
    const why = this.#reason(one)
    if (why === undefined) this.#zones.add(one)
    else this.#why.set(one, why.slice(0, 300))
  }

  #reason(one: TopFunction): string | undefined {
    const { names, flow } = this.#parts
    if (one.isExported) return 'it is exported'
    if (!one.isEarly) return 'it is only made while the program runs'
    if (!isMadeOnce(one.id, names)) return 'its name is given more than one value'
    if (one.name === 'main' || one.name.length > zoneNameMax) return 'no zone may have its name'
    if (zoneGlobals.has(one.name) || loosening.has(one.name) || one.name === 'input')
      return 'its name is that of a global'
    const closure = this.#closures.get(one)!
    if (closure.kind === 'open') return closure.why
    const calls = flow.callsOf(one.node)
    if (!calls) return 'it is used as a value'
    const outer = calls.filter((call) => !isInside(call, one.node))
    if (outer.length === 0) return 'nothing calls it'
    if (!outer.every(isAwaited)) return 'a caller does not wait for it'
    if (!flow.returns(one.node, (value) => flow.isPlain(value)))
      return 'it may return what is not plain data'
    return this.#dataReason(one, outer)
  }

  #dataReason({ node }: TopFunction, calls: readonly Node[]): string | undefined {
    const { flow } = this.#parts
    const { isTame, hasIdentity } = this.#whole
    const given: readonly Node[] = calls.flatMap((call) => call['arguments'])
    if (!given.every((one) => flow.isPlain(one))) return 'it may be handed what is not plain data'
    if (!isTame && !given.every((one) => flow.isSolid(one)))
      return 'the program changes objects that have more than one name'
    if (flow.returns(node, (value) => flow.isPrimitive(value))) return undefined
    if (!isTame) return 'the program changes objects that have more than one name'
    if (hasIdentity) return 'the program asks which of its objects are the same'
    return given.some((one) => this.#reachesChanged(one))
      ? 'what it is handed is changed elsewhere, and it may return a part of it'
      : undefined
  }

  /** True if a value may hold an object that is mutated after creation. */
  #reachesChanged(value: Node): boolean {
    const { tree } = this.#request
    const { names, top } = this.#parts
    const changed = new Set([...this.#whole.changed].map(bindingOf))
    if (changed.size === 0) return false
    const seen = new Set<Binding>()
    const stack = [value]
    for (let at = stack.pop(); at; at = stack.pop()) {
      for (const node of nodesIn(at, tree, tree.indexOf(at))) {
        const binding = node.type === 'Identifier' ? bindingOf(node) : undefined
        if (!binding || seen.has(binding)) continue
        if (changed.has(binding)) return true
        seen.add(binding)
        for (const place of (names.bound.get(binding) ?? []).map(nameRoleOf)) {
          if (place.kind === 'value') stack.push(place.node)
          const isUnknown =
            place.kind === 'unknown' || (place.kind === 'parameter' && !top.entries.has(place.of))
          if (isUnknown) return true
        }
      }
    }
    return false
  }

  /** Removes zones whose callees cannot be zones, until a fixed point. */
  #settle(): void {
    for (;;) {
      const stays = [...this.#zones].find((one) => this.#failure(one) !== undefined)
      if (!stays) return
      this.#why.set(stays, this.#failure(stays)!.slice(0, 300))
      this.#zones.delete(stays)
    }
  }

  #failure(one: TopFunction): string | undefined {
    const need = this.#needOf(one)
    if (typeof need === 'string') return need
    if (this.#comesBack(one)) return 'it calls itself by way of another zone'
    return [...this.#zones].indexOf(one) >= programZonesMax
      ? `the program has more than ${programZonesMax} zones`
      : undefined
  }

  #comesBack(one: TopFunction): boolean {
    const seen = new Set<TopFunction>()
    const stack = [one]
    for (let at = stack.pop(); at; at = stack.pop()) {
      const need = this.#needOf(at)
      if (typeof need === 'string') continue
      for (const to of need.zones) {
        if (to === one) return true
        if (!seen.has(to)) stack.push(to)
        seen.add(to)
      }
    }
    return false
  }

  /** Zones that a function calls, and functions copied with it; or the reason why it cannot be a zone. */
  #needOf(one: TopFunction): Need | string {
    const zones = new Set<TopFunction>()
    const copies = new Set([one])
    for (const at of copies) {
      const closure = this.#closures.get(at)!
      if (closure.kind === 'open') return `it calls "${at.name}", which stays: ${closure.why}`
      if (at !== one && !at.isEarly)
        return `it calls "${at.name}", which is only made while the program runs`
      if (!isMadeOnce(at.id, this.#parts.names))
        return `it calls "${at.name}", whose name is given more than one value`
      for (const { to, call } of closure.calls) {
        if (to !== one && this.#zones.has(to) && isAwaited(call)) zones.add(to)
        else copies.add(to)
      }
    }
    return { zones, copies }
  }

  #described(one: TopFunction): ProgramZone {
    const { zones, copies } = this.#needOf(one) as Need
    const nodes = [...copies].flatMap((copy) => this.#inside.get(copy)!)
    const constants = [...copies].flatMap((copy) => {
      const closure = this.#closures.get(copy)!
      return closure.kind === 'closed' ? closure.constants : []
    })
    const statements = new Set([
      ...this.#parts.top.directives,
      ...constants,
      ...[...copies].map(({ statement }) => statement),
    ])
    const uses = usesOf(nodes)
    return {
      ...this.#lines(one),
      kind: kindOf(one.name, this.#inside.get(one)!, uses),
      ...uses,
      calls: [...zones].map(({ name }) => name),
      cut: this.#range(one.statement),
      keep: [...statements].map((node) => this.#range(node)).sort(([a], [b]) => a - b),
    }
  }

  /** Zones called from the remaining program. */
  #calledByRest(): readonly string[] {
    const moved = [...this.#zones].map(({ statement }) => statement)
    return [...this.#zones]
      .filter(({ node }) =>
        this.#parts.flow
          .callsOf(node)!
          .some((call) => !moved.some((statement) => isInside(call, statement))),
      )
      .map(({ name }) => name)
  }

  #range({ start, end }: Node): readonly [number, number] {
    const { place } = this.#request
    return [place(start).offset, place(end).offset]
  }

  #lines({ name, statement }: TopFunction) {
    const { place } = this.#request
    const line = place(statement.start).line
    return { name: name.slice(0, 200), line, endLine: place(statement.end - 1).line }
  }
}
