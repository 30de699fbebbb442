import { visitorKeys } from 'oxc-parser'
import type { Node } from './syntax.ts'

/**
 * Rewrites the tree of a TypeScript source in place into that of the equivalent JavaScript: types are removed,
 * and an enum, a namespace, a parameter property or an `import x = require()` becomes its runtime form. Nodes
 * keep their positions. No code is generated: folded enum constants may take a hundred megabytes for a source
 * of three lines, while a tree stays as large as its source.
 */
export function withoutTypes(program: Node): Node {
  const stack: Node[] = [program]
  for (let node = stack.pop(); node; node = stack.pop()) {
    const fields = node as Record<string, unknown>
    for (const key of visitorKeys[node.type] ?? []) {
      const child = fields[key]
      if (Array.isArray(child)) {
        const kept = child.flatMap((one: Node | null) => (one ? (plain(one) ?? []) : [one]))
        fields[key] = kept
        for (const one of kept) if (one) stack.push(one)
      } else if (child) {
        const kept = plain(child as Node)
        fields[key] = kept ?? null
        if (kept) stack.push(kept)
      }
    }
  }
  return program
}

const wrappers = new Set([
  'TSAsExpression',
  'TSInstantiationExpression',
  'TSNonNullExpression',
  'TSSatisfiesExpression',
  'TSTypeAssertion',
])

/** Runtime form of a node; undefined for a type or a pure declaration. */
function plain(node: Node): Node | undefined {
  let at = node
  while (wrappers.has(at.type)) at = at['expression']
  if (at['declare'] === true || at['importKind'] === 'type' || at['exportKind'] === 'type')
    return undefined
  const become = becomes[at.type]
  if (become) return become(at)
  return at.type.startsWith('TS') ? undefined : at
}

const becomes: Readonly<Record<string, (node: Node) => Node | undefined>> = {
  TSEnumDeclaration: (node) => constant(node, node['id'], membersOf(node)),
  TSModuleDeclaration: (node) =>
    node['global'] === true || node['id'].type === 'Literal'
      ? undefined
      : constant(node, leftmost(node['id']), calledOnce(node)),
  TSParameterProperty: ({ decorators, parameter }) => {
    parameter.decorators = [...(decorators ?? []), ...(parameter.decorators ?? [])]
    return parameter as Node
  },
  TSImportEqualsDeclaration: (node) => constant(node, node['id'], importedBy(node)),
  TSExportAssignment: (node) =>
    made('ExpressionStatement', node, { expression: node['expression'], directive: null }),
  MethodDefinition: (node) => (hasBody(node['value']) ? node : undefined),
  ExportNamedDeclaration: (node) =>
    node['declaration'] && !plain(node['declaration']) ? undefined : node,
  ExportDefaultDeclaration: (node) => (plain(node['declaration']) ? node : undefined),
}

function hasBody({ type }: Node): boolean {
  return type !== 'TSEmptyBodyFunctionExpression'
}

function membersOf(node: Node): Node {
  const members: readonly Node[] = node['body'].members
  const properties = members.map((member) =>
    made('Property', member, {
      kind: 'init',
      key: member['id'],
      value: member['initializer'] ?? made('Literal', member, { value: null }),
      computed: member['computed'] === true,
      method: false,
      shorthand: false,
    }),
  )
  return made('ObjectExpression', node, { properties })
}

/** A namespace as an immediately called function; its exports become names. */
function calledOnce(node: Node): Node {
  const inner: readonly Node[] =
    node['body'].type === 'TSModuleBlock' ? node['body'].body : [node['body']]
  const body = inner.map((one) =>
    one.type === 'ExportNamedDeclaration' && one['declaration'] ? one['declaration'] : one,
  )
  const callee = made('FunctionExpression', node, {
    id: null,
    params: [],
    body: made('BlockStatement', node['body'], { body }),
    async: false,
    generator: false,
  })
  return made('CallExpression', node, { callee, arguments: [], optional: false })
}

function importedBy(node: Node): Node {
  const reference: Node = node['moduleReference']
  if (reference.type !== 'TSExternalModuleReference') return memberOf(reference)
  const callee = made('Identifier', node, { name: 'require' })
  return made('CallExpression', node, {
    callee,
    arguments: [reference['expression']],
    optional: false,
  })
}

function memberOf(name: Node): Node {
  if (name.type !== 'TSQualifiedName') return name
  return made('MemberExpression', name, {
    object: memberOf(name['left']),
    property: name['right'],
    computed: false,
    optional: false,
  })
}

function leftmost(name: Node): Node {
  let at = name
  while (at.type === 'TSQualifiedName') at = at['left']
  return at
}

function constant(node: Node, id: Node, init: Node): Node {
  const declarator = made('VariableDeclarator', node, { id, init })
  return made('VariableDeclaration', node, { kind: 'var', declarations: [declarator] })
}

function made(type: string, { start, end }: Node, fields: Record<string, unknown>): Node {
  return { type, start, end, ...fields }
}
