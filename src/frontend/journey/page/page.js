// Draws the journeys of requests as they come. Everything that a requester wrote is put in as text, never as markup.
"use strict";

const STATIONS = ["Authentication", "Impersonation", "Authorization", "Admission", "Storage"];
const QUESTIONS = {
  Authentication: "Are you who you say you are?",
  Impersonation: "May you act as somebody else?",
  Authorization: "May you do this?",
  Admission: "Is the object in order?",
  Storage: "What was kept?",
};
const LABELS = { Authorization: "Authorisation" };
const MARKS = { Passed: "yes", Abstained: "–", Changed: "changed", Refused: "no", Failed: "failed" };
const MOST = 200;

const list = document.getElementById("journeys");
const live = document.getElementById("live");
const filter = { what: document.getElementById("what"), who: document.getElementById("who") };

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function took(micros) {
  return micros < 1000 ? `${micros} µs` : `${(micros / 1000).toFixed(1)} ms`;
}

function what(journey) {
  const attributes = journey.attributes || {};
  const resource = attributes.resourceAttributes;
  if (!resource) {
    const path = attributes.nonResourceAttributes;
    return path ? `${path.verb} ${path.path}` : `${journey.method} ${journey.uri}`;
  }
  let kind = resource.resource;
  if (resource.group) kind += `.${resource.group}`;
  if (resource.subresource) kind += `/${resource.subresource}`;
  const named = resource.name ? ` ${resource.name}` : "";
  return `${resource.verb} ${kind}${named}${resource.namespace ? ` in ${resource.namespace}` : ""}`;
}

function who(journey) {
  const name = (user) => (user && user.username) || "nobody";
  return journey.impersonated ? `${name(journey.user)} as ${name(journey.impersonated)}` : name(journey.user);
}

function stations(journey) {
  const stages = new Map(journey.stages.map((stage) => [stage.name, stage]));
  return STATIONS.filter((name) => name !== "Impersonation" || stages.has(name)).map((name) => {
    const stage = stages.get(name);
    const station = element("span", stage ? `station reached ${stage.outcome}` : "station");
    station.append(element("i", "", stage && stage.outcome === "Refused" ? "×" : ""), LABELS[name] || name);
    return station;
  });
}

function steps(stage) {
  const made = element("ul");
  for (const step of stage.steps) {
    const line = element("li", step.outcome);
    line.append(element("span", "mark", MARKS[step.outcome] || step.outcome), element("span", "step", step.name),
      element("span", "", step.detail), element("span", "took", took(step.micros)));
    if (step.patch) line.append(element("code", "", step.patch.map((op) => JSON.stringify(op)).join("\n")));
    made.append(line);
  }
  return made;
}

function detail(journey) {
  const made = document.createDocumentFragment();
  const facts = element("dl");
  const fact = (name, value) => {
    if (value) facts.append(element("dt", "", name), element("dd", "", value));
  };
  fact("request", `${journey.method} ${journey.uri}`);
  fact("from", `${journey.source}, ${journey.userAgent || "unnamed client"}`);
  fact("groups", ((journey.impersonated || journey.user || {}).groups || []).join(", "));
  fact("answer", `${journey.code}${journey.reason ? ` ${journey.reason}` : ""}, after ${took(journey.micros)}`);
  fact("Audit-ID", journey.id);
  made.append(facts);
  for (const stage of journey.stages) {
    const section = element("section", `stage ${stage.outcome}`);
    const title = element("h2", "", `${LABELS[stage.name] || stage.name} `);
    title.append(element("small", "", `${QUESTIONS[stage.name] || ""} (${took(stage.micros)})`));
    section.append(title, element("p", "", stage.summary), steps(stage));
    made.append(section);
  }
  return made;
}

function isShown(journey) {
  const verb = ((journey.attributes || {}).resourceAttributes || {}).verb || "get";
  const isRead = ["get", "list", "watch"].includes(verb);
  if (filter.what.value === "writes" && isRead) return false;
  if (filter.what.value === "refused" && journey.code < 400) return false;
  return who(journey).toLowerCase().includes(filter.who.value.trim().toLowerCase());
}

const drawn = new Map();

function draw(journey, isNew) {
  // What this page itself asks for would drown everything else.
  if (journey.uri.startsWith("/debug/journeys") || drawn.has(journey.id)) return;
  const item = document.getElementById("journey").content.firstElementChild.cloneNode(true);
  item.dataset.id = journey.id;
  item.classList.toggle("new", isNew);
  item.querySelector("time").textContent = journey.received.slice(11, 23);
  item.querySelector(".user").textContent = who(journey);
  item.querySelector(".what").textContent = what(journey);
  item.querySelector(".track").append(...stations(journey));
  const code = item.querySelector(".code");
  code.textContent = journey.code;
  code.classList.add(journey.code < 400 ? "good" : "bad");
  const [head, body] = [item.querySelector(".head"), item.querySelector(".detail")];
  head.addEventListener("click", () => {
    if (!body.hasChildNodes()) body.append(detail(journey));
    body.hidden = !body.hidden;
    head.setAttribute("aria-expanded", String(!body.hidden));
  });
  item.hidden = !isShown(journey);
  list.prepend(item);
  drawn.set(journey.id, { journey, item });
  while (list.children.length > MOST) {
    drawn.delete(list.lastElementChild.dataset.id);
    list.lastElementChild.remove();
  }
  document.getElementById("empty").hidden = true;
}

function refilter() {
  for (const { journey, item } of drawn.values()) item.hidden = !isShown(journey);
}
filter.what.addEventListener("change", refilter);
filter.who.addEventListener("input", refilter);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());

function say(state, text) {
  live.className = state;
  live.textContent = text;
}

async function catchUp() {
  const answer = await fetch("/debug/journeys", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const { items } = await answer.json();
  for (const journey of items.reverse()) draw(journey, false);
}

function follow() {
  const source = new EventSource("/debug/journeys?watch=true");
  source.onopen = () => {
    say("on", "live");
    // What came between the page and the stream, or while the stream was away.
    catchUp().catch((error) => say("off", String(error)));
  };
  source.onmessage = (event) => draw(JSON.parse(event.data), true);
  source.onerror = () => say("off", "the stream is away; trying again");
}
follow();
