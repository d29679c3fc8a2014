//! The law against circles between the modules of one crate.
//!
//! A floor is the root of a crate, or a folder of it with more than [`FILES_MAX`] files. Its modules
//! are what lies directly on it: a file and its folder count as one, and so does everything deeper.
//! The file at the head of a floor (`lib.rs`, `catalog.rs` above `catalog/`) is its table of contents
//! and no module of it.
//!
//! A module uses another one if a path in it leads there: a `use`, or a path that begins with `crate`,
//! `self` or `super`. A name that the head of a floor re-exports belongs to the module that defines it.
//! `use super::*` leads to the head only, whatever that imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::code::{File, Import};
use super::known::Offence;

/// Up to so many files of a folder may lean on each other as they like: they are read as one.
pub const FILES_MAX: usize = 5;

/// Re-exports of re-exports that are followed; more do not occur.
const HOPS_MAX: usize = 8;

/// Law 8: modules of one crate do not use each other in a circle.
///
/// Told is the shortest circle of each floor that has one; the offender is named `store` or `store::catalog`.
#[must_use]
pub fn circles(files: &[File<'_>]) -> Vec<Offence> {
    let rooms: BTreeSet<&str> = files.iter().map(|file| file.room).collect();
    let mut found = Vec::new();
    for room in rooms {
        let house = Modules::new(files.iter().filter(|file| file.room == room));
        for floor in house.floors() {
            if let Some(circle) = shortest_circle(&house.uses(&floor)) {
                found.push(Offence { who: [&[room], &floor[..]].concat().join("::"), what: circle });
            }
        }
    }
    found
}

type Path<'a> = Vec<&'a str>;

/// Which module uses which, and a file that shows it.
type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>;

struct Modules<'f, 'a> {
    files: BTreeMap<Path<'a>, &'f File<'a>>,
    imports: BTreeMap<Path<'a>, Vec<Import<'a>>>,
    paths: BTreeSet<Path<'a>>,
}

impl<'f, 'a> Modules<'f, 'a> {
    fn new(files: impl Iterator<Item = &'f File<'a>>) -> Self {
        let files: BTreeMap<Path<'a>, &File<'a>> = files.map(|file| (file.module.clone(), file)).collect();
        let imports = files.iter().map(|(module, file)| (module.clone(), file.imports())).collect();
        let above =
            |module: &Path<'a>| (1..=module.len()).map(|len| module[..len].to_vec()).collect::<Vec<_>>();
        Self { paths: files.keys().flat_map(above).collect(), imports, files }
    }

    fn floors(&self) -> Vec<Path<'a>> {
        let mut children: BTreeMap<&[&str], usize> = BTreeMap::new();
        for module in &self.paths {
            *children.entry(&module[..module.len() - 1]).or_default() += 1;
        }
        let large = |(floor, count): &(&[&'a str], usize)| floor.is_empty() || *count > FILES_MAX;
        children.into_iter().filter(large).map(|(floor, _)| floor.to_vec()).collect()
    }

    fn uses(&self, floor: &[&'a str]) -> Uses<'a> {
        let on_floor = |module: &[&'a str]| module.strip_prefix(floor).and_then(|rest| rest.first().copied());
        let mut uses = Uses::new();
        for (module, file) in &self.files {
            let Some(from) = on_floor(module) else { continue };
            for target in self.targets(module, file) {
                if let Some(to) = on_floor(&target).filter(|to| *to != from) {
                    uses.entry(from).or_default().entry(to).or_insert(file.path);
                }
            }
        }
        uses
    }

    /// The modules of this crate to which a path of `file` leads.
    fn targets(&self, module: &[&'a str], file: &File<'a>) -> BTreeSet<Path<'a>> {
        let imported = self.imports[module].iter().map(|import| import.path.clone());
        let paths = imported.chain(file.paths());
        paths
            .filter_map(|path| self.absolute(module, &path))
            .map(|path| self.defining(&path, HOPS_MAX))
            .collect()
    }

    /// The path from the root of the crate; `None` if it leads out of the crate.
    fn absolute(&self, module: &[&'a str], path: &[&'a str]) -> Option<Path<'a>> {
        let (first, rest) = path.split_first()?;
        match *first {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let above = &module[..module.len().saturating_sub(1)];
                let relative = rest.first() == Some(&"super");
                if relative { self.absolute(above, rest) } else { Some([above, rest].concat()) }
            }
            _ => Some([module, path].concat()).filter(|_| self.paths.contains(&[module, &[first]].concat())),
        }
    }

    /// The module that defines what `path` names.
    fn defining(&self, path: &[&'a str], hops: usize) -> Path<'a> {
        let mut module = Vec::new();
        for (idx, name) in path.iter().enumerate() {
            module.push(*name);
            if self.paths.contains(&module) {
                continue;
            }
            module.pop();
            return match self.reexport(&module, name, hops) {
                Some(target) => self.defining(&[&target, &path[idx + 1..]].concat(), hops - 1),
                None => module,
            };
        }
        module
    }

    /// The path that `module` imports as `name`.
    fn reexport(&self, module: &[&'a str], name: &str, hops: usize) -> Option<Path<'a>> {
        let imports = self.imports.get(module).filter(|_| hops > 0)?;
        let by_name = imports.iter().find(|import| import.name == name);
        if let Some(import) = by_name {
            return self.absolute(module, &import.path);
        }
        let globs = imports.iter().filter(|import| import.name == "*");
        let targets = globs.filter_map(|glob| self.absolute(module, &glob.path[..glob.path.len() - 1]));
        let mut defining = targets.map(|target| self.defining(&target, hops - 1));
        defining.find(|target| self.files.get(target).is_some_and(|file| file.defines(name)))
    }
}

/// `a -> b (file that shows it) -> a (file)`.
fn shortest_circle(uses: &Uses<'_>) -> Option<String> {
    let circles = uses.keys().filter_map(|start| circle_through(start, uses));
    let circle = circles.min_by_key(Vec::len)?;
    let step = |pair: &[&str]| format!(" -> {} ({})", pair[1], uses[pair[0]][pair[1]]);
    Some(circle[0].to_owned() + &circle.windows(2).map(step).collect::<String>())
}

/// The shortest way from `start` back to it, both ends included: breadth first.
fn circle_through<'a>(start: &'a str, uses: &Uses<'a>) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        for to in uses.get(last).into_iter().flat_map(BTreeMap::keys) {
            if *to == start {
                return Some([&way[..], &[start]].concat());
            }
            if seen.insert(*to) {
                ways.push_back([&way[..], &[*to]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
