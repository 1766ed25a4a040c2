// Filters, exports of what is shown, replays and the page that compares: without any of it the pages can be read.
(function () {
  "use strict";
  function all(where, what) { return Array.prototype.slice.call(where.querySelectorAll(what)); }
  function isShown(row) { return !row.hidden && !row.classList.contains("group"); }

  // -- filters: a row is shown when each group of boxes has one of its values checked, and it needs no more than asked
  var form = document.querySelector("form.filters");
  function filter() {
    var wanted = {}, most = {}, shown = 0, total = 0;
    all(form, "input[type=checkbox]").forEach(function (box) {
      (wanted[box.name] = wanted[box.name] || []);
      if (box.checked) wanted[box.name].push(box.value);
    });
    all(form, "input[type=number]").forEach(function (box) { if (box.value !== "") most[box.name] = Number(box.value); });
    all(document, "table.board").forEach(function (table) {
      var left = 0;
      all(table, "tbody tr").forEach(function (row) {
        if (row.classList.contains("group")) return;
        var fits = row.dataset.control === "yes" && row.dataset.family.split(" ").some(function (f) { return wanted.family.indexOf(f) >= 0; });
        if (row.dataset.control !== "yes") {
          total += 1;
          fits = Object.keys(wanted).every(function (name) {
            return row.dataset[name].split(name === "family" ? " " : "\n").some(function (v) { return wanted[name].indexOf(v) >= 0; });
          }) && Object.keys(most).every(function (name) { return Number(row.dataset[name]) <= most[name]; });
          if (fits) { left += 1; shown += 1; }
        }
        row.hidden = !fits;
      });
      all(table, "tbody").forEach(function (body) { body.hidden = !all(body, "tr").some(isShown); });
      var section = table.closest(".of-board");
      if (section) section.hidden = left === 0;
    });
    form.elements.count.value = shown + " of " + total + " rows";
  }
  if (form) {
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function () { setTimeout(filter, 0); });
    filter();
  }

  // -- what is shown now, as a file
  function text(cell) {
    var value = cell.querySelector(".value"), under = cell.querySelector(".under");
    var main = value ? value.textContent : Array.prototype.filter.call(cell.childNodes, function (n) {
      return n.nodeName !== "SPAN" && n.nodeName !== "svg" && n.nodeName !== "SMALL";
    }).map(function (n) { return n.textContent; }).join("");
    return (main.trim() + (under && under.textContent ? " " + under.textContent.trim() : "")).replace(/\s+/g, " ");
  }
  function isText(cell) { return !cell.classList.contains("bar"); }
  function head(cell) {
    var small = cell.querySelector("small"), whole = cell.textContent.trim();
    return small ? whole.slice(0, whole.length - small.textContent.length).trim() + " (" + small.textContent.trim() + ")" : whole;
  }
  function shownRows(table) {
    var columns = Array.prototype.filter.call(table.tHead.rows[0].cells, isText).map(head);
    var rows = all(table, "tbody tr").filter(isShown).map(function (row) {
      return Array.prototype.filter.call(row.cells, isText).map(text);
    });
    return { columns: columns, rows: rows };
  }
  function csvCell(x) { // nothing that a spreadsheet would run
    if (/^[=+@\t\r]/.test(x) || (/^-/.test(x) && !/^-[\d.]/.test(x))) x = "'" + x;
    return /[",\n]/.test(x) ? '"' + x.replace(/"/g, '""') + '"' : x;
  }
  var TEX = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\u2212": "$-$", "\u2013": "--", "\u2020": "\\textdagger{}", "\u00b1": "$\\pm$", "\u00b7": "$\\cdot$", "\u00d7": "$\\times$" };
  function tex(x) { return x.replace(/[\\&%$#_{}~^\u2212\u2013\u2020\u00b1\u00b7\u00d7]/g, function (c) { return TEX[c]; }); }
  function written(kind, found) {
    if (kind === "json") return JSON.stringify(found.rows.map(function (row) {
      var out = {};
      row.forEach(function (x, i) { out[found.columns[i]] = x; });
      return out;
    }), null, 1) + "\n";
    if (kind === "csv") return [found.columns].concat(found.rows).map(function (row) { return row.map(csvCell).join(","); }).join("\n") + "\n";
    return ["\\begin{tabular}{l" + "r".repeat(found.columns.length - 1) + "}", "\\toprule", found.columns.map(tex).join(" & ") + " \\\\", "\\midrule"]
      .concat(found.rows.map(function (row) { return row.map(tex).join(" & ") + " \\\\"; }), ["\\bottomrule", "\\end{tabular}", ""]).join("\n");
  }
  all(document, ".export").forEach(function (place) {
    place.hidden = false;
    place.addEventListener("click", function (event) {
      var kind = event.target.dataset && event.target.dataset.kind;
      if (!kind) return;
      var table = all(document, "table.board").find(function (t) { return t.dataset.name === place.dataset.of; });
      var link = document.createElement("a");
      link.download = place.dataset.of + "." + kind;
      link.href = URL.createObjectURL(new Blob([written(kind, shownRows(table))], { type: "text/plain" }));
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    });
  });

  // -- replays: a recorded episode, one scene a line, packed
  function unpacked(base64) {
    var bytes = Uint8Array.from(atob(base64), function (c) { return c.charCodeAt(0); });
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  function rgb(c) { return "rgb(" + c.map(Number).join(",") + ")"; }
  function draw(canvas, scene) {
    var b = scene.bounds, pen = canvas.getContext("2d");
    var zoom = Math.min(canvas.width / (b[2] - b[0]), canvas.height / (b[3] - b[1]));
    var dx = (canvas.width - zoom * (b[2] - b[0])) / 2, dy = (canvas.height - zoom * (b[3] - b[1])) / 2;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    scene.shapes.forEach(function (s) {
      var kind = s[0], size = s[3] * zoom, colour = rgb(s[5]);
      pen.setTransform(1, 0, 0, 1, dx + (s[1] - b[0]) * zoom, dy + (b[3] - s[2]) * zoom);
      pen.fillStyle = pen.strokeStyle = colour;
      pen.lineWidth = 3;
      if (kind === "circle" || kind === "ring") {
        pen.beginPath();
        pen.arc(0, 0, size, 0, 2 * Math.PI);
        if (kind === "ring") { pen.stroke(); return; }
        pen.fill();
        pen.strokeStyle = "rgba(0,0,0,.3)";
        pen.stroke();
      } else if (kind === "text") {
        pen.font = size + "px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(String(s[6] === null ? "" : s[6]), 0, 0);
      } else {
        var tall = kind === "line" ? 3 : (s[6] === null ? s[3] : Number(s[6])) * zoom;
        pen.rotate(-s[4]);
        pen.fillRect(-size / 2, -tall / 2, size, tall);
      }
    });
  }
  all(document, "figure.player").forEach(function (figure) {
    var canvas = figure.querySelector("canvas"), controls = figure.querySelector(".controls");
    var button = controls.querySelector("button"), slider = controls.querySelector("input"), said = controls.querySelector("output");
    unpacked(figure.dataset.episode).then(function (lines) {
      var scenes = lines.trim().split("\n").map(function (line) { return JSON.parse(line); }), timer = null;
      var still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      function show(k) {
        slider.value = k;
        said.value = "step " + k;
        slider.setAttribute("aria-valuetext", "step " + k + " of " + (scenes.length - 1));
        draw(canvas, scenes[k]);
      }
      function stop() { clearInterval(timer); timer = null; button.textContent = "Play"; }
      slider.max = scenes.length - 1;
      controls.hidden = false;
      show(0);
      slider.addEventListener("input", function () { stop(); show(Number(slider.value)); });
      button.addEventListener("click", function () {
        if (timer !== null) { stop(); return; }
        if (Number(slider.value) >= scenes.length - 1) show(0);
        button.textContent = "Pause";
        timer = setInterval(function () {
          var next = Number(slider.value) + 1;
          if (next >= scenes.length) { stop(); return; }
          show(next);
        }, still ? 400 : 100);
      });
    });
  });

  // -- two methods beside each other
  var data = document.getElementById("compare-data"), pick = document.querySelector("form.compare");
  if (data && pick) {
    var known = JSON.parse(data.textContent), place = document.getElementById("compared");
    var asked = new URLSearchParams(location.hash.slice(1));
    ["a", "b"].forEach(function (name, k) {
      var select = pick.elements[name];
      known.methods.forEach(function (m) { select.add(new Option(m, m)); });
      var given = asked.get(name);
      select.value = known.methods.indexOf(given) >= 0 ? given : known.methods[Math.min(k, known.methods.length - 1)];
    });
    if (pick.elements.a.value === pick.elements.b.value && known.methods.length > 1) {
      pick.elements.b.value = known.methods.find(function (m) { return m !== pick.elements.a.value; });
    }
    pick.hidden = false;
    var make = function (parent, tag, words, kind) {
      var made = parent.appendChild(document.createElement(tag));
      if (words !== undefined) made.textContent = words;
      if (kind) made.className = kind;
      return made;
    };
    var compared = function () {
      var a = pick.elements.a.value, b = pick.elements.b.value, pair = [a, b].sort().join("\n");
      history.replaceState(null, "", "#a=" + encodeURIComponent(a) + "&b=" + encodeURIComponent(b));
      place.textContent = "";
      var rows = [];
      Object.keys(known.boards).forEach(function (name) {
        var board = known.boards[name];
        Object.keys(board.tasks).forEach(function (task) {
          var cells = board.tasks[task];
          if (cells[a] && cells[b]) rows.push([task, board.title, cells[a], cells[b], (board.tests[task] || {})[pair]]);
        });
      });
      if (!rows.length) { make(place, "p", "No board has both of them on a task: different protocols, divisions or execution classes are not compared."); return; }
      var frame = make(place, "div", undefined, "scroll");
      frame.tabIndex = 0; frame.setAttribute("role", "region"); frame.setAttribute("aria-label", a + " and " + b);
      var table = make(frame, "table", undefined, "board"), line = make(make(table, "thead"), "tr"), body = make(table, "tbody");
      ["Task", a, b, "Test of the board"].forEach(function (words, k) {
        var th = make(line, "th", words, k === 0 || k === 3 ? "text" : "");
        th.scope = "col";
      });
      rows.forEach(function (row) {
        var tr = make(body, "tr"), th = make(tr, "th", row[0]);
        th.scope = "row";
        make(th, "span", row[1], "under");
        [row[2], row[3]].forEach(function (cell, k) {
          var td = make(tr, "td");
          td.dataset.head = [a, b][k];
          make(td, "span", cell[0], "value");
          if (cell[1]) make(td, "span", cell[1], "under");
        });
        var test = row[4], td = make(tr, "td", undefined, "text");
        td.dataset.head = "Test of the board";
        make(td, "span", !test ? "not tested against each other" : test[0] === "" ? "not distinguishable" : test[0] + " is better", "value");
        if (test && test[1]) make(td, "span", test[1], "under");
      });
    };
    pick.addEventListener("change", compared);
    pick.querySelector(".swap").addEventListener("click", function () {
      var a = pick.elements.a.value;
      pick.elements.a.value = pick.elements.b.value;
      pick.elements.b.value = a;
      compared();
    });
    compared();
  }
})();
