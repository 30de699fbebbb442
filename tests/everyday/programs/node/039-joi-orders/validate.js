const Joi = require('joi');
const orders = require('./orders.json');

const item = Joi.object({
  sku: Joi.string().pattern(/^[A-Z]{2}-\d{3}$/).required(),
  qty: Joi.number().integer().positive().max(99).required(),
  gift: Joi.boolean().default(false),
});

const schema = Joi.object({
  id: Joi.number().required(),
  customer: Joi.object({
    email: Joi.string().email({ tlds: false }).lowercase().required(),
    phone: Joi.string().replace(/[^\d+]/g, '').min(7),
  }).required(),
  items: Joi.array().items(item).min(1).unique('sku').required(),
  shipping: Joi.string().valid('standard', 'express', 'pickup').default('standard'),
  address: Joi.when('shipping', { is: 'pickup', then: Joi.forbidden(), otherwise: Joi.string().required() }),
  ordered: Joi.date().iso().less('2025-01-01'),
});

let failed = 0;
orders.forEach((order) => {
  const { error, value } = schema.validate(order, { abortEarly: false, stripUnknown: true });
  if (error) {
    failed++;
    console.log(`order ${order.id}: ${error.details.length} problem(s)`);
    error.details.forEach((d) => console.log(`   ${d.path.join('.')}: ${d.message} [${d.type}]`));
  } else {
    console.log(`order ${order.id}: ok`, JSON.stringify(value));
  }
});

process.exitCode = failed ? 4 : 0;
