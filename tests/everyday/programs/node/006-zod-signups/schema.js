import { z } from 'zod';

const Address = z.object({
  street: z.string().min(1, 'street is empty'),
  zip: z.string().regex(/^\d{5}$/, 'zip must be five digits'),
});

export const SignupSchema = z
  .object({
    name: z.string().trim().min(2, 'name is too short'),
    email: z.email('not an email address').transform((s) => s.toLowerCase()),
    age: z.coerce.number().int('age must be whole').min(18, 'must be an adult'),
    plan: z.enum(['free', 'pro', 'team']).default('free'),
    address: Address.optional(),
    password: z.string().min(8, 'password too short'),
    confirm: z.string(),
  })
  .refine((v) => v.password === v.confirm, { message: 'passwords differ', path: ['confirm'] })
  .transform(({ confirm, password, ...rest }) => ({ ...rest, passwordLength: password.length }));

export function formatIssues(error) {
  return error.issues.map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`);
}
