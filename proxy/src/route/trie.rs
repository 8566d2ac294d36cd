//! A radix tree over bytes: all stored prefixes of a path, from the longest to the shortest.

/// Values by prefix.
#[derive(Debug)]
pub(super) struct Trie<T> {
    /// The root comes first; its label is empty.
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// Bytes between the parent and this node.
    label: Box<[u8]>,
    /// Children by the first byte of their label, in order.
    children: Vec<(u8, u32)>,
    value: Option<T>,
    /// Bytes of all labels down to here.
    len: usize,
    /// The nearest node above that has a value.
    shorter: Option<u32>,
}

impl<T> Node<T> {
    fn new(label: &[u8], value: Option<T>) -> Self {
        Self { label: label.into(), children: Vec::new(), value, len: 0, shorter: None }
    }

    #[inline]
    fn child(&self, byte: u8) -> Result<u32, usize> {
        self.children
            .binary_search_by_key(&byte, |(first, _)| *first)
            .map(|position| self.children[position].1)
    }
}

impl<T> Trie<T> {
    /// The values of all prefixes of `path`, the longest first.
    #[inline]
    pub(super) fn prefixes_of(&self, path: &[u8]) -> impl Iterator<Item = &T> {
        self.valued_nodes(path).filter_map(|node| node.value.as_ref())
    }

    /// Likewise, with the lengths of the prefixes.
    pub(super) fn prefixes_with_lengths(&self, path: &[u8]) -> impl Iterator<Item = (usize, &T)> {
        self.valued_nodes(path).filter_map(|node| Some((node.len, node.value.as_ref()?)))
    }

    #[inline]
    fn valued_nodes(&self, path: &[u8]) -> impl Iterator<Item = &Node<T>> {
        let mut node = 0;
        let mut rest = path;
        let mut longest = None;
        loop {
            if self.nodes[node as usize].value.is_some() {
                longest = Some(node);
            }
            let Some(child) =
                rest.first().and_then(|byte| self.nodes[node as usize].child(*byte).ok())
            else {
                break;
            };
            let Some(below) = rest.strip_prefix(&*self.nodes[child as usize].label) else {
                break;
            };
            node = child;
            rest = below;
        }
        std::iter::successors(longest, |node| self.nodes[*node as usize].shorter)
            .map(|node| &self.nodes[node as usize])
    }

    fn insert(&mut self, key: &[u8], value: T) {
        let mut node = 0;
        let mut rest = key;
        while let Some(&first) = rest.first() {
            node = match self.nodes[node as usize].child(first) {
                Err(position) => {
                    let leaf = self.push(Node::new(rest, None));
                    self.nodes[node as usize].children.insert(position, (first, leaf));
                    rest = &[];
                    leaf
                }
                Ok(child) => {
                    let label = &self.nodes[child as usize].label;
                    let shared = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
                    if shared < label.len() {
                        self.split(child, shared);
                    }
                    rest = &rest[shared..];
                    child
                }
            };
        }
        self.nodes[node as usize].value = Some(value);
    }

    /// Cuts the label of a node after `at` bytes: what the node was goes below it.
    fn split(&mut self, node: u32, at: usize) {
        let upper = &mut self.nodes[node as usize];
        let (kept, moved) = upper.label.split_at(at);
        let mut lower = Node::new(moved, upper.value.take());
        lower.children = std::mem::take(&mut upper.children);
        upper.label = kept.into();
        let first = lower.label[0];
        let lower = self.push(lower);
        self.nodes[node as usize].children.push((first, lower));
    }

    fn push(&mut self, node: Node<T>) -> u32 {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("a configuration has fewer than 2^32 routes")
    }

    /// Links every node to the nearest value above it, and tells it its length.
    fn link(&mut self) {
        let mut open = vec![0u32];
        while let Some(node) = open.pop() {
            let above = if self.nodes[node as usize].value.is_some() {
                Some(node)
            } else {
                self.nodes[node as usize].shorter
            };
            for position in 0..self.nodes[node as usize].children.len() {
                let child = self.nodes[node as usize].children[position].1;
                let len = self.nodes[node as usize].len + self.nodes[child as usize].label.len();
                self.nodes[child as usize].len = len;
                self.nodes[child as usize].shorter = above;
                open.push(child);
            }
        }
    }
}

impl<T> FromIterator<(Vec<u8>, T)> for Trie<T> {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, T)>>(entries: I) -> Self {
        let mut trie = Self { nodes: vec![Node::new(&[], None)] };
        for (key, value) in entries {
            trie.insert(&key, value);
        }
        trie.link();
        trie
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_prefix_longest_first(
            keys in prop::collection::btree_set("[ab/]{0,6}", 0..20),
            path in "[ab/]{0,10}",
        ) {
            let trie: Trie<String> = keys.iter().map(|key| (key.clone().into_bytes(), key.clone())).collect();
            let mut expected: Vec<_> = keys.iter().filter(|key| path.starts_with(key.as_str())).collect();
            expected.sort_by_key(|key| std::cmp::Reverse(key.len()));
            prop_assert_eq!(trie.prefixes_of(path.as_bytes()).collect::<Vec<_>>(), expected);
            prop_assert!(trie.prefixes_with_lengths(path.as_bytes()).all(|(len, key)| len == key.len()));
        }
    }
}
