import html
import string
import textwrap

PAGE = string.Template(textwrap.dedent("""\
    <!doctype html>
    <title>$title</title>
    <ul>
    $items
    </ul>
    """))


def as_text(inv):
    out = [f"INVOICE {inv.number}".center(48), "", f"To:   {inv.customer}", f"Date: {inv.date:%d.%m.%Y}   Due: {inv.due:%d.%m.%Y}", "=" * 48]
    out += [f"{l.text:<26}{l.qty:>4} x {l.unit:>7} {l.amount:>7}" for l in inv.lines]
    if inv.discount:
        out.append(f"Discount {inv.discount}%")
    out += ["-" * 48, f"{'Net':<38}{inv.net:>10}", f"{'VAT':<38}{inv.vat:>10}", f"{'Total':<38}{inv.total:>10}", ""]
    return "\n".join(out)


def as_index(invoices):
    items = "\n".join(f"  <li>{html.escape(i.customer)}: {i.total}</li>" for i in invoices)
    return PAGE.substitute(title="Invoices", items=items)
