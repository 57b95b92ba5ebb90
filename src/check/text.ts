import type { Severity } from "../findings/finding.ts";
import { isExpiring, spanText } from "../findings/lifetimes.ts";
import type { Report, ReportCertificate, ReportFinding, ServedFacts } from "./report.ts";
import { type Paint, printable } from "./terminal.ts";

const BAR_LENGTH = 20;
const SEVERITIES: readonly Severity[] = ["error", "warning", "note"];

/** A report for people: for each file its certificates, one a line with a bar of its life, and what was found. */
export function reportText(report: Report, paint: Paint): string {
  const { certificates, findings, served = [], checkedAt } = report;
  const lines: string[] = [];
  const sources = new Set([...certificates, ...findings].map(({ source }) => source));
  for (const source of sources) {
    lines.push(paint("strong", printable(source ?? "configuration")));
    for (const each of certificates.filter((each) => each.source === source)) {
      lines.push(lineOf(each, +checkedAt, paint));
    }
    for (const each of findings.filter((each) => each.source === source)) lines.push(...findingLines(each, paint));
    lines.push("");
  }
  for (const each of served) lines.push(servedLine(each, paint), "");
  lines.push(summaryOf(report, paint));
  return `${lines.join("\n")}\n`;
}

function lineOf(certificate: ReportCertificate, at: number, paint: Paint): string {
  const { role, keyType, subject, dnsNames, ipAddresses, notAfter } = certificate;
  const names = [...dnsNames, ...ipAddresses];
  const title = role === "server" && names.length > 0 ? shortened(names) : subject;
  const remaining = notAfter.getTime() >= at
    ? `${spanText(notAfter.getTime() - at)} left`
    : `expired ${spanText(at - notAfter.getTime())} ago`;
  const until = notAfter.toISOString().slice(0, "2000-01-01".length);
  return `  ${bar(certificate, at, paint)} ${remaining.padEnd(14)} ${until}  ${paint("dim", role)} ${
    printable(title)
  } ${paint("dim", printable(keyType))}`;
}

/** A bar whose filled part is the remaining share of the validity. */
function bar(certificate: ReportCertificate, at: number, paint: Paint): string {
  const { notBefore, notAfter } = certificate;
  const share = (notAfter.getTime() - at) / Math.max(notAfter.getTime() - notBefore.getTime(), 1);
  const filled = Math.ceil(BAR_LENGTH * Math.min(Math.max(share, 0), 1));
  const tone = filled === 0 ? "error" : isExpiring(certificate, at) ? "warning" : "good";
  return paint(tone, "█".repeat(filled)) + paint(filled === 0 ? "error" : "dim", "░".repeat(BAR_LENGTH - filled));
}

function findingLines({ code, severity, subject, message, hint }: ReportFinding, paint: Paint): string[] {
  return [
    `  ${paint(severity, severity.padEnd("warning".length))} ${printable(subject)}: ${printable(message)} ${
      paint("dim", code)
    }`,
    `          ${paint("dim", `→ ${printable(hint)}`)}`,
  ];
}

function servedLine({ address, serverName, fingerprints, versions }: ServedFacts, paint: Paint): string {
  const asked = serverName === undefined ? "" : ` for ${printable(serverName)}`;
  const [leaf = "nothing", ...others] = fingerprints;
  return `${paint("strong", printable(address))} serves ${leaf} and ${
    count(others.length, "more certificate")
  }${asked}, ${versions.join(", ")}`;
}

function summaryOf({ certificates, findings, isUsable }: Report, paint: Paint): string {
  const counts = SEVERITIES.map((severity) => {
    const number = findings.filter((each) => each.severity === severity).length;
    return number > 0 ? paint(severity, count(number, severity)) : count(number, severity);
  });
  const verdict = isUsable ? "" : paint("error", "; cannot be used");
  return `${counts.join(", ")} in ${count(certificates.length, "certificate")}${verdict}`;
}

function shortened(names: readonly string[]): string {
  const [first = "", ...others] = names;
  return others.length === 0 ? first : `${first} and ${count(others.length, "more name")}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
