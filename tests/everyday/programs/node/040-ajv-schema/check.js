const Ajv = require('ajv');
const fs = require('fs');

const ajv = new Ajv({ allErrors: true, useDefaults: true, coerceTypes: true });
ajv.addFormat('slug', /^[a-z0-9-]+$/);
ajv.addKeyword({
  keyword: 'isEven',
  type: 'number',
  validate: (on, n) => !on || n % 2 === 0,
  error: { message: 'must be even' },
});

const schema = JSON.parse(fs.readFileSync('recipe.schema.json'));
const validate = ajv.compile(schema);

const file = process.argv[2];
const data = JSON.parse(fs.readFileSync(file, 'utf8'));

let problems = 0;
data.forEach((recipe, i) => {
  if (validate(recipe)) {
    console.log(`[${i}] ${recipe.slug}: valid, difficulty ${recipe.difficulty}, ${recipe.minutes} minutes`);
    return;
  }
  problems += validate.errors.length;
  console.log(`[${i}] ${recipe.slug ?? '?'}:`);
  for (const e of validate.errors) {
    const extra = e.params.additionalProperty ?? e.params.allowedValues ?? '';
    console.log(`     ${e.instancePath || '/'} ${e.message}${extra.length ? ` (${extra})` : ''}`);
  }
});

if (problems) {
  console.log(`${problems} problems in ${file}`);
  process.exit(1);
}
