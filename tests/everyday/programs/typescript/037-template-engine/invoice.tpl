Invoice for {{customer.name | upper}}
{{#if note}}Note: {{note}}
{{/if}}{{#each items as it}}{{index}}. {{it.name}} {{it.price | money}}{{#if it.sale}} (sale!){{/if}}
{{/each}}{{#if !items}}nothing ordered{{else}}{{items | count}} items{{/if}}
{{{footer}}}
