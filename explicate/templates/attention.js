// All heads as small pictures, one of them large, and the text shaded by what its tokens attend to. Text is only ever set as text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const bytes = (text) => {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at++) found[at] = raw.charCodeAt(at);
    return found;
  };
  const tokens = data.shown, roles = new Map(), statistics = new Map();
  data.head_roles.forEach((each) => roles.set(each.layer * data.heads + each.head, each));
  data.statistics.forEach((each) => statistics.set(each.layer * data.heads + each.head, each));

  // ---- what is in the page: see packed() in attention_page.py
  const measures = data.measures;
  for (const each of Object.values(measures)) {
    each.shares = bytes(each.shares);
    if (each.keys) { const raw = bytes(each.keys), view = new DataView(raw.buffer); each.keys = Uint16Array.from({ length: raw.length / 2 }, (_, at) => view.getUint16(2 * at, true)); }
    each.queries ??= Array.from({ length: each.size }, (_, at) => at);
    each.begins = [0];
    for (const query of each.queries) each.begins.push(each.begins.at(-1) + (each.edges || (data.causal ? query + 1 : each.size)));
  }
  const planeOf = (measure, head) => ({ head, layer: Math.floor(head / data.heads), all: 0 })[measure.of];
  // Calls put(query, key, byte) for every value that is kept of a plane.
  const visit = (measure, plane, put) => {
    const start = plane * measure.begins.at(-1);
    measure.queries.forEach((query, row) => {
      for (let at = start + measure.begins[row], key = 0; at < start + measure.begins[row + 1]; at++, key++) {
        if (measure.shares[at]) put(query, measure.keys ? measure.keys[at] : key, measure.shares[at]);
      }
    });
  };
  // Bytes [query * size + key] of a plane.
  const whole = (measure, plane) => {
    const found = new Uint8Array(measure.size * measure.size);
    visit(measure, plane, (query, key, byte) => { found[query * measure.size + key] = byte; });
    return found;
  };
  const told = (measure, plane, byte) => {
    if (measure === measures.attention) return byte ? (Math.round(byte / 2.55) || "<1") + "%" : measure.edges ? "not kept" : "<1%";
    return byte ? (byte / 255 * measure.scales[plane]).toPrecision(2) : measure.edges ? "not kept" : "0";
  };
  const named = (at) => at < tokens.length ? tokens[at] : "(target " + (at - tokens.length + 1) + ")";
  const label = (at, most = 14) => { const text = named(at).replaceAll(" ", "␣"), signs = [...text]; return signs.length > most ? signs.slice(0, most - 1).join("") + "…" : text; };
  const headName = (head) => "L" + Math.floor(head / data.heads) + "." + head % data.heads;

  // ---- colours of the page as it is now
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const screen = () => ({ blue: style("--true").split(",").map(Number), orange: "rgb(" + style("--sim") + ")", ink: style("--ink"), dim: style("--dim"), unseen: style("--card"), seen: "rgba(" + style("--first") + ",.09)" });
  const paper = { blue: [44, 115, 210], orange: "rgb(217,108,10)", ink: "#1b2330", dim: "#5d6878", unseen: "#fff", seen: "#eef0f3" };

  let measure = measures.attention, token = tokens.length - 1;

  // ---- all heads
  const grid = find("grid"), buttons = [], waiting = new Set();
  let blue = screen().blue, selected = 0;
  const FIELDS = 64;
  const thumbnail = (head) => {
    const measure = measures.attention, several = Math.ceil(measure.size / FIELDS), side = Math.ceil(measure.size / several);
    const canvas = buttons[head].querySelector("canvas"), context = canvas.getContext("2d");
    canvas.width = canvas.height = side;
    const image = context.createImageData(side, side), pixels = image.data;
    visit(measure, head, (query, key, byte) => {
      const at = 4 * (Math.floor(query / several) * side + Math.floor(key / several)), shade = Math.round(255 * Math.sqrt(byte / 255));
      if (shade > pixels[at + 3]) { [pixels[at], pixels[at + 1], pixels[at + 2]] = blue; pixels[at + 3] = shade; }
    });
    context.putImageData(image, 0, 0);
  };
  // Some in each frame, so that the page answers while it draws: to put a picture on the screen takes longer than to draw it.
  let drawing = false;
  const draw = () => {
    const until = performance.now() + 4;
    for (const head of waiting) {
      waiting.delete(head);
      thumbnail(head);
      if (performance.now() > until) break;
    }
    drawing = waiting.size > 0;
    if (drawing) requestAnimationFrame(draw);
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { waiting.add(buttons.indexOf(entry.target)); seen.unobserve(entry.target); }
    if (!drawing && waiting.size) { drawing = true; requestAnimationFrame(draw); }
  }, { rootMargin: "300px" });
  for (let head = 0; head < data.layers * data.heads; head++) {
    const button = document.createElement("button"), canvas = document.createElement("canvas"), of = document.createElement("div"), number = document.createElement("span");
    const role = roles.get(head)?.role;
    button.type = "button";
    button.tabIndex = -1;
    button.setAttribute("aria-label", headName(head) + (role ? ", " + role : ""));
    button.title = headName(head) + (role ? ": " + role + " " + roles.get(head).scores[role].value.toFixed(2) : "");
    number.textContent = headName(head).slice(1);
    of.className = "of" + (role ? " " + role : "");
    of.append(number);
    if (role) { const tag = document.createElement("b"); tag.textContent = role; of.append(tag); }
    button.append(canvas, of);
    button.onclick = () => select(head);
    buttons.push(button);
    seen.observe(button);
  }
  let role = "", shown = [];
  const arrange = () => {
    const order = find("order").value, share = (head) => roles.get(head)?.role ? roles.get(head).scores[roles.get(head).role].value : -1;
    const rank = { layer: () => 0, score: share, entropy: (head) => statistics.get(head)?.entropy ?? 0, distance: (head) => statistics.get(head)?.distance ?? 0 }[order];
    shown = buttons.map((_, head) => head).filter((head) => !role || roles.get(head)?.role === role).sort((a, b) => rank(b) - rank(a) || a - b);
    grid.className = !role && order === "layer" ? "whole" : "";
    grid.replaceChildren(...shown.map((head) => buttons[head]));
    for (const each of find("roles").children) each.setAttribute("aria-pressed", String(each.dataset.role === role));
    if (!shown.includes(selected)) select(shown[0]);
    else reachable();
  };
  // What is of a layer is of all its heads, and what is of all layers of none.
  const isDrawn = (head) => measure.of !== "all" && planeOf(measure, head) === planeOf(measure, selected);
  const reachable = () => {
    buttons.forEach((button, head) => { button.tabIndex = head === selected ? 0 : -1; button.setAttribute("aria-pressed", String(isDrawn(head))); });
    document.querySelectorAll(".grids rect").forEach((rect) => rect.classList.toggle("at", isDrawn(Number(rect.dataset.layer) * data.heads + Number(rect.dataset.head))));
  };
  find("roles").onclick = (event) => { const chosen = event.target.closest("button"); if (chosen) { role = chosen.dataset.role; arrange(); } };
  find("order").onchange = arrange;
  const step = (event, at, count, columns) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: count - 1 - at }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return null;
    event.preventDefault();
    return at + by >= 0 && at + by < count ? at + by : at;
  };
  grid.onkeydown = (event) => {
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length, to = step(event, shown.indexOf(selected), shown.length, columns);
    if (to === null) return;
    select(shown[to]);
    buttons[selected].focus();
  };

  // ---- the selected head, large
  const map = find("map"), strip = [...find("strip").children];
  let plane = 0, values = new Uint8Array(0), largest = 1, picture = null, from = true, at = null, cell = 8, room = 60;
  const sink = () => find("sink").checked;
  // Of the strongest colour: without the first token the others are drawn relative to the largest of them.
  const depth = (query, key) => sink() && key === 0 ? 0 : Math.sqrt(Math.min(values[query * measure.size + key] / largest, 1));
  const prepare = () => {
    plane = planeOf(measure, selected);
    values = whole(measure, plane);
    largest = 255;
    if (sink()) { largest = 1; for (let query = 0; query < measure.size; query++) for (let key = 1; key < measure.size; key++) largest = Math.max(largest, values[query * measure.size + key]); }
    picture = null;
    find("most").textContent = told(measure, plane, largest);
  };
  const coloured = (theme) => {
    const n = measure.size, canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    canvas.width = canvas.height = n;
    const image = context.createImageData(n, n), pixels = image.data;
    for (let query = 0; query < n; query++) for (let key = 0; key < n; key++) {
      const pixel = 4 * (query * n + key);
      [pixels[pixel], pixels[pixel + 1], pixels[pixel + 2]] = theme.blue;
      pixels[pixel + 3] = Math.round(255 * depth(query, key));
    }
    context.putImageData(image, 0, 0);
    return canvas;
  };
  const paint = (context, theme, image, pointed) => {
    const n = measure.size, side = n * cell, every = Math.ceil(10 / cell), size = Math.min(11, Math.max(9, cell));
    context.save();
    context.translate(room, room);
    context.fillStyle = theme.seen;
    if (data.causal) for (let query = 0; query < n; query++) context.fillRect(0, query * cell, (query + 1) * cell, cell);
    else context.fillRect(0, 0, side, side);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, side, side);
    const write = (place, row, strong) => {
      context.save();
      context.font = (strong ? "600 " : "") + size + "px system-ui, sans-serif";
      context.fillStyle = strong ? theme.orange : theme.ink;
      const middle = (place + .5) * cell;
      if (row) { context.textAlign = "right"; context.fillText(label(place), -5, middle + size * .35); }
      else { context.translate(middle + size * .35, -5); context.rotate(-Math.PI / 2); context.fillText(label(place), 0, 0); }
      context.restore();
    };
    // Where not all have room the one pointed at takes the room of those beside it.
    for (const [row, chosen] of [[true, pointed?.[0]], [false, pointed?.[1]]]) {
      for (let place = 0; place < n; place += every) if (chosen === undefined || Math.abs(place - chosen) * cell >= 10) write(place, row, false);
      if (chosen !== undefined) write(chosen, row, true);
    }
    if (pointed) {
      context.strokeStyle = theme.orange;
      context.lineWidth = 1;
      context.globalAlpha = .5;
      context.strokeRect(-.5, pointed[0] * cell - .5, side + 1, cell + 1);
      context.strokeRect(pointed[1] * cell - .5, -.5, cell + 1, side + 1);
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.strokeRect(pointed[1] * cell - 1, pointed[0] * cell - 1, cell + 2, cell + 2);
    }
    context.restore();
  };
  const fit = () => {
    const n = measure.size, context = map.getContext("2d");
    context.font = "600 11px system-ui, sans-serif";
    room = 14;
    for (let place = 0; place < n; place++) room = Math.max(room, Math.ceil(context.measureText(label(place)).width) + 10);
    // In steps of half a pixel; a cell one cannot point at is of no use, so that long texts scroll.
    cell = Math.max(n > 400 ? 2 : 4, Math.min(24, Math.floor(2 * (find("large").clientWidth - room - 2) / n) / 2));
  };
  const show = () => {
    const dots = window.devicePixelRatio || 1, side = room + measure.size * cell + 2, context = map.getContext("2d");
    if (map.width !== Math.round(side * dots)) {
      map.width = map.height = Math.round(side * dots);
      map.style.width = map.style.height = side + "px";
    }
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.clearRect(0, 0, side, side);
    picture ??= coloured(screen());
    paint(context, screen(), picture, at);
  };
  const shade = () => {
    const pair = (query, key) => named(query) + " → " + named(key) + ": " + (data.causal && key > query ? "not seen" : told(measure, plane, values[query * measure.size + key]));
    strip.forEach((span, place) => {
      const share = place >= measure.size ? 0 : from ? depth(token, place) : depth(place, token);
      span.style.setProperty("--a", share.toFixed(3));
      span.classList.toggle("at", place === token);
      span.tabIndex = place === token ? 0 : -1;
      span.title = from ? pair(token, place) : pair(place, token);
    });
  };
  const read = () => {
    const line = find("read"), strong = (text) => { const made = document.createElement("b"); made.textContent = text; return made; };
    if (at) {
      const [query, key] = at, hidden = data.causal && key > query, missing = !measure.queries.includes(query);
      line.replaceChildren(strong(named(query)), " (" + query + ") → ", strong(named(key)), " (" + key + "): ", strong(missing ? "not computed" : hidden ? "not seen" : told(measure, plane, values[query * measure.size + key])));
      return;
    }
    // The largest of what the token attends to, or of what attends to it.
    const byte = (place) => from ? values[token * measure.size + place] : values[place * measure.size + token];
    const largest = Array.from({ length: measure.size }, (_, place) => place).filter(byte).sort((a, b) => byte(b) - byte(a)).slice(0, 5);
    line.replaceChildren(strong(named(token)), " (" + token + ") " + (measure === measures.attention ? from ? "attends to " : "is attended to by " : from ? "most from " : "most to "));
    if (from && !measure.queries.includes(token)) line.append("(not computed for this token)");
    else if (!largest.length) line.append("nothing that could be drawn");
    largest.forEach((place, number) => line.append(number ? ", " : "", strong(named(place)), " (" + place + ") " + told(measure, plane, byte(place))));
  };
  // Only what is of one head stands below its name.
  const entitle = () => {
    const found = roles.get(selected), numbers = statistics.get(selected), title = find("name"), said = find("said"), tag = document.createElement("span"), score = document.createElement("small");
    const layer = "Layer " + Math.floor(selected / data.heads), name = data.names[Object.keys(measures).find((each) => measures[each] === measure)];
    title.textContent = { head: layer + ", head " + selected % data.heads, layer: layer + ", all heads", all: "All layers and heads together" }[measure.of];
    map.setAttribute("aria-label", title.textContent + ", " + name + ": a row a query and a column a key; arrow keys move from cell to cell");
    if (measure.of !== "head") {
      said.textContent = measure.of === "layer" ? "The mean of " + name + " over the heads of the layer." : name[0].toUpperCase() + name.slice(1) + " belongs to no head: it goes through the attention of all layers. Choose a head to see its own.";
      return;
    }
    if (found?.role) {
      const of = found.scores[found.role];
      tag.className = "role " + found.role;
      tag.textContent = found.role;
      score.textContent = of.value.toFixed(2) + " [" + of.low.toFixed(2) + ", " + of.high.toFixed(2) + "], chance " + of.chance.toFixed(2);
      title.append(tag, score);
    } else if (found) { score.textContent = "no role found"; title.append(score); }
    said.textContent = numbers ? "In this text: entropy " + numbers.entropy.toFixed(2) + " nats, distance " + numbers.distance.toFixed(1) + " tokens; of its attention " + [["first", "the first token"], ["self", "the token itself"], ["previous", "the one before"]].map(([key, says]) => Math.round(100 * numbers[key]) + "% on " + says).join(", ") + " (these can be the same)" : "";
  };
  const refresh = () => { reachable(); entitle(); prepare(); fit(); show(); shade(); read(); };
  const draws = (name) => {
    measure = measures[name];
    at = null;
    // A token from which nothing was computed would show nothing.
    if (from && !measure.queries.includes(token) && measure.queries.length) token = Math.min(measure.queries.at(-1), tokens.length - 1);
  };
  const select = (head) => {
    selected = head;
    at = null;
    if (measure.of === "all") { draws("attention"); document.querySelector("input[name=measure][value=attention]").checked = true; }
    refresh();
    within(buttons[head]);
    // So that a link leads to a head; a page within another one has no address of its own.
    if (location.protocol !== "about:") history.replaceState(null, "", "#" + headName(head));
  };
  // Scrolls the box of heads only, never the page.
  const within = (button) => {
    const box = find("heads"), top = button.offsetTop, left = button.offsetLeft;
    if (top < box.scrollTop) box.scrollTop = top - 8;
    else if (top + button.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + button.offsetHeight - box.clientHeight + 8;
    if (left < box.scrollLeft) box.scrollLeft = left - 8;
    else if (left + button.offsetWidth > box.scrollLeft + box.clientWidth) box.scrollLeft = left + button.offsetWidth - box.clientWidth + 8;
  };
  const point = (query, key) => {
    at = [query, key];
    if (query < tokens.length && from) token = query;
    else if (key < tokens.length && !from) token = key;
    show(); shade(); read();
  };
  const leave = () => { if (at) { at = null; show(); read(); } };
  map.onpointermove = map.onpointerdown = (event) => {
    const key = Math.floor((event.offsetX - room) / cell), query = Math.floor((event.offsetY - room) / cell);
    if (key < 0 || query < 0 || key >= measure.size || query >= measure.size) leave();
    else if (!at || at[0] !== query || at[1] !== key) point(query, key);
  };
  map.onpointerleave = map.onblur = leave;
  map.onkeydown = (event) => {
    const n = measure.size, [query, key] = at ?? [Math.min(token, n - 1), 0];
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const clip = (place) => Math.max(0, Math.min(n - 1, place));
    point(clip(query + (at ? by[0] : 0)), clip(key + (at ? by[1] : 0)));
  };
  const pick = (place) => { token = place; at = null; show(); shade(); read(); };
  strip.forEach((span, place) => { span.onpointerenter = span.onclick = () => pick(place); });
  find("strip").onkeydown = (event) => {
    const to = step(event, token, tokens.length, 1);
    if (to === null) return;
    pick(to);
    strip[to].focus();
  };
  find("measures").onchange = (event) => { draws(event.target.value); refresh(); };
  find("sink").onchange = refresh;
  document.querySelectorAll("input[name=way]").forEach((each) => { each.onchange = () => { from = each.value === "from"; shade(); read(); }; });
  document.querySelectorAll("[data-layer]").forEach((each) => { each.onclick = () => { role = ""; find("order").value = "layer"; select(Number(each.dataset.layer) * data.heads + Number(each.dataset.head)); arrange(); within(buttons[selected]); }; });

  // ---- files
  const save = (name, blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = (data.model.name.split(/[\\/]/).at(-1) || "model").replace(/[^\w.-]+/g, "-") + "-" + name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const drawn = () => (measure.of === "head" ? headName(selected) + "-" : measure.of === "layer" ? headName(selected).split(".")[0] + "-" : "") + Object.keys(measures).find((name) => measures[name] === measure);
  find("png").onclick = () => {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d"), side = room + measure.size * cell + 12, dots = 2;
    canvas.width = canvas.height = side * dots;
    context.scale(dots, dots);
    context.fillStyle = paper.unseen;
    context.fillRect(0, 0, side, side);
    paint(context, paper, coloured(paper), null);
    canvas.toBlob((blob) => save(drawn() + ".png", blob));
  };
  find("svg").onclick = () => {
    const n = measure.size, space = "http://www.w3.org/2000/svg", side = room + n * cell + 12, steps = 16, every = Math.ceil(10 / cell);
    const make = (parent, name, attributes, text) => {
      const made = document.createElementNS(space, name);
      Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
      if (text !== undefined) made.textContent = text;
      parent.append(made);
      return made;
    };
    const svg = document.createElementNS(space, "svg");
    Object.entries({ viewBox: [0, 0, side, side].join(" "), width: side, height: side, "font-family": "system-ui, Helvetica, Arial, sans-serif", "font-size": Math.min(11, Math.max(8, cell)) }).forEach(([key, value]) => svg.setAttribute(key, value));
    make(svg, "title", {}, data.model.name + " " + drawn());
    make(svg, "rect", { width: side, height: side, fill: paper.unseen });
    const box = make(svg, "g", { transform: "translate(" + room + " " + room + ") scale(" + cell + ")", fill: "rgb(" + paper.blue.join(",") + ")" });
    make(box, "path", { fill: paper.seen, d: data.causal ? "M0 0" + "h1v1".repeat(n) + "H0z" : "M0 0h" + n + "v" + n + "h-" + n + "z" });
    // One path of squares for all cells of a shade.
    const paths = Array.from({ length: steps + 1 }, () => []);
    for (let query = 0; query < n; query++) for (let key = 0; key < n; key++) paths[Math.round(steps * depth(query, key))].push("M" + key + " " + query + "h1v1h-1z");
    paths.forEach((squares, level) => { if (level && squares.length) make(box, "path", { "fill-opacity": level / steps, d: squares.join("") }); });
    for (let place = 0; place < n; place += every) {
      const middle = room + (place + .5) * cell + 4;
      make(svg, "text", { x: room - 5, y: middle, "text-anchor": "end", fill: paper.ink }, label(place));
      make(svg, "text", { transform: "translate(" + middle + " " + (room - 5) + ") rotate(-90)", fill: paper.ink }, label(place));
    }
    save(drawn() + ".svg", new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
  };
  find("json").onclick = () => {
    const { measures: packed, shown: _, names: __, ...rest } = data;
    const parts = [JSON.stringify({ ...rest, precision: "values in steps of 1/255 of the largest of their plane; _edges: [key, value] of the largest of each query" }).slice(0, -1)];
    for (const [name, each] of Object.entries(packed)) {
      const planes = each.scales.map((scale, plane) => {
        const rows = new Map(each.queries.map((query) => [query, each.edges ? [] : new Array(each.size).fill(0)]));
        visit(each, plane, (query, key, byte) => { const value = Number((byte / 255 * scale).toPrecision(4)); if (each.edges) rows.get(query).push([key, value]); else rows.get(query)[key] = value; });
        return [...rows.values()];
      });
      const layers = Array.from({ length: data.layers }, (_, layer) => planes.slice(layer * data.heads, (layer + 1) * data.heads));
      const value = each.of === "head" ? layers : each.of === "layer" ? planes : name === "flow" ? { queries: each.queries, values: planes[0] } : planes[0];
      parts.push("," + JSON.stringify(each.edges ? name + "_edges" : name) + ":" + JSON.stringify(value));
    }
    save("attention.json", new Blob([...parts, "}"], { type: "application/json" }));
  };

  // ---- the first picture, and pictures of other sizes and colours
  const redraw = () => { blue = screen().blue; buttons.forEach((_, head) => waiting.add(head)); if (!drawing) { drawing = true; requestAnimationFrame(draw); } picture = null; show(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { buttons.forEach((_, head) => thumbnail(head)); waiting.clear(); });
  let width = 0;
  new ResizeObserver(() => { const now = find("large").clientWidth; if (now !== width) { width = now; fit(); show(); } }).observe(find("large"));
  const asked = /^#L(\d+)\.(\d+)$/.exec(location.hash), linked = asked && Number(asked[2]) < data.heads ? Number(asked[1]) * data.heads + Number(asked[2]) : -1;
  // Else a head that does more than to rest on the first token.
  const best = [...roles.keys()].filter((head) => roles.get(head).role && roles.get(head).role !== "first").sort((a, b) => roles.get(b).scores[roles.get(b).role].value - roles.get(a).scores[roles.get(a).role].value);
  selected = linked >= 0 && linked < buttons.length ? linked : best.find((head) => roles.get(head).role === "induction") ?? best[0] ?? 0;
  arrange();
  select(selected);
  find("strip").scrollTop = find("strip").scrollHeight; // to the last token, which is outlined
})();
