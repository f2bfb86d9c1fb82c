const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const images = read("images");
const find = (selector, within = document) => within.querySelector(selector);
const show = (value, digits = 4) =>
  value === null ? "not finite" : String(Number(value.toPrecision(digits))).replace("-", "−");
const NAMES = ["normal", "anomalous"];

// The threshold, which the reader can move.
const range = find("#slider input");
const own = data.threshold ?? Infinity; // JSON has no infinity
function showThreshold(threshold) {
  const share = (threshold - data.low) / (data.high - data.low);
  find("#mark").hidden = !Number.isFinite(threshold);
  find("#mark").style.left = 100 * (data.axes[0] + data.axes[1] * share) + "%";
  const model = own === Infinity ? "the model has none" : "the model's own is " + show(own, 5);
  find("#slider p").textContent =
    threshold !== own ? `Threshold ${show(threshold, 5)}, set here; ${model}`
    : own === Infinity ? "The model has no threshold." : `Threshold ${show(own, 5)}, the model's own`;
  find("#counts tbody").childNodes.forEach((row, truth) => {
    const of = data.scores.filter((score, i) => data.truth === null || data.truth[i] === truth);
    const above = of.filter((score) => score > threshold).length;
    const cells = row.querySelectorAll("td");
    cells[0].textContent = of.length - above;
    cells[1].textContent = above;
  });
}
Object.assign(range, { min: data.low, max: data.high, value: Math.min(own, data.high) });
range.addEventListener("input", () => showThreshold(Number(range.value)));
showThreshold(own);

// The images, a page of them at a time.
const PAGE = 24;
const form = find(".controls");
const collator = new Intl.Collator(undefined, { numeric: true });
const byScore = (a, b) => data.scores[b.i] - data.scores[a.i] || a.i - b.i;
const ORDERS = {
  highest: byScore,
  lowest: (a, b) => byScore(b, a),
  name: (a, b) => collator.compare(a.name, b.name) || a.i - b.i,
};
let chosen = images;
let first = 0; // position in `chosen` of the page's first image

const isMistake = (i) => data.truth !== null && data.truth[i] !== data.labels[i];
const mistakeOf = (i) => (data.truth[i] ? "missed" : "false alarm");

function choose() {
  const value = (name) => form.elements[name]?.value ?? "";
  const text = value("text").toLowerCase();
  chosen = images.filter(({ i, name }) =>
    (!value("truth") || String(data.truth[i]) === value("truth")) &&
    (!value("verdict") || String(data.labels[i]) === value("verdict")) &&
    (!value("mistakes") || (isMistake(i) && ["any", mistakeOf(i)].includes(value("mistakes")))) &&
    name.toLowerCase().includes(text));
  chosen.sort(ORDERS[value("sort")]);
  turnTo(0);
}

function turnTo(position) {
  const last = Math.max(Math.ceil(chosen.length / PAGE) - 1, 0) * PAGE;
  first = Math.min(Math.max(position, 0), last);
  const page = chosen.slice(first, first + PAGE);
  find(".gallery").replaceChildren(...page.map(makeFigure));
  find("#shown").textContent = page.length
    ? `Images ${first + 1} to ${first + page.length} of ${chosen.length}`
    : "No image fits. Choose other filters.";
  document.querySelectorAll(".pager").forEach((pager) => {
    pager.hidden = chosen.length <= PAGE;
    const targets = [0, first - PAGE, first + PAGE, last];
    pager.querySelectorAll("button").forEach((button, k) => {
      button.disabled = targets[k] === first || targets[k] < 0 || targets[k] > last;
      button.onclick = () => {
        turnTo(targets[k]);
        find("#shown").scrollIntoView();
      };
    });
    find("span", pager).textContent = `Page ${first / PAGE + 1} of ${last / PAGE + 1}`;
  });
}

function makeViews(image) {
  return data.views.map((view, k) => {
    const picture = new Image();
    picture.src = "data:image/jpeg;base64," + image.views[k];
    picture.alt = { overlay: "anomaly map over " }[view] ?? view + " of ";
    picture.alt = (view === "image" ? "" : picture.alt) + image.name;
    picture.title = view;
    return picture;
  });
}

function makeFigure(image) {
  const { i, name, parts, regions } = image;
  const figure = find("#figure").content.firstElementChild.cloneNode(true);
  figure.className = `label${data.labels[i]}`;
  find(".views", figure).append(...makeViews(image).map((picture) => {
    const button = document.createElement("button");
    button.append(picture);
    button.addEventListener("click", () => enlarge(image));
    return button;
  }));
  find(".name", figure).textContent = name;
  find(".score", figure).textContent = show(data.scores[i]);
  find(".verdict", figure).textContent = NAMES[data.labels[i]];
  find(".truth", figure).textContent = data.truth === null ? "" : `, true label ${NAMES[data.truth[i]]}`;
  if (isMistake(i)) find(".mistake", figure).textContent = mistakeOf(i);
  else find(".mistake", figure).remove();
  const longest = Math.max(...parts.map((part) => Math.abs(part ?? 0))) || 1;
  data.terms.forEach((term, k) => {
    const line = find("#part").content.firstElementChild.cloneNode(true);
    const share = (50 * (parts[k] ?? 0)) / longest;
    line.children[0].textContent = term;
    find("i", line).classList.toggle("minus", share < 0);
    find("i", line).style.width = `${Math.abs(share)}%`;
    find("i", line).style.marginLeft = `${50 + Math.min(share, 0)}%`;
    line.children[2].textContent = (parts[k] > 0 ? "+" : "") + show(parts[k]);
    find(".parts", figure).append(line);
  });
  const details = find("details", figure);
  if (!regions.length) {
    details.replaceWith("No region above the pixel threshold");
    return figure;
  }
  const n = image.n_regions;
  const more = n > regions.length ? `, the ${regions.length} highest of them` : "";
  find("summary", details).textContent =
    `${n} ${n === 1 ? "region" : "regions"} above the pixel threshold${more}`;
  for (const region of regions) {
    const row = find("tbody", details).insertRow();
    region.forEach((value) => { row.insertCell().textContent = show(value); });
  }
  return figure;
}

function enlarge(image) {
  const dialog = find("dialog");
  find(".name", dialog).textContent = image.name;
  find(".views", dialog).replaceChildren(...makeViews(image));
  dialog.showModal();
}

form.addEventListener("input", choose);
form.addEventListener("submit", (event) => event.preventDefault());
choose();
