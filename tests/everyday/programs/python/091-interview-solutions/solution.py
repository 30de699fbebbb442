from typing import List, Optional
from collections import defaultdict, deque
from functools import lru_cache
import heapq


class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next


class Solution:
    def twoSum(self, nums: List[int], target: int) -> List[int]:
        seen = {}
        for i, n in enumerate(nums):
            if target - n in seen:
                return [seen[target - n], i]
            seen[n] = i
        return []

    def lengthOfLongestSubstring(self, s: str) -> int:
        last, start, best = {}, 0, 0
        for i, ch in enumerate(s):
            if last.get(ch, -1) >= start:
                start = last[ch] + 1
            last[ch] = i
            best = max(best, i - start + 1)
        return best

    def isValid(self, s: str) -> bool:
        stack, pairs = [], {')': '(', ']': '[', '}': '{'}
        for ch in s:
            if ch in pairs:
                if not stack or stack.pop() != pairs[ch]:
                    return False
            else:
                stack.append(ch)
        return not stack

    def groupAnagrams(self, strs: List[str]) -> List[List[str]]:
        groups = defaultdict(list)
        for s in strs:
            groups["".join(sorted(s))].append(s)
        return list(groups.values())

    def mergeKLists(self, lists: List[Optional[ListNode]]) -> Optional[ListNode]:
        heap = [(node.val, i, node) for i, node in enumerate(lists) if node]
        heapq.heapify(heap)
        dummy = tail = ListNode()
        while heap:
            _, i, node = heapq.heappop(heap)
            tail.next = tail = node
            if node.next:
                heapq.heappush(heap, (node.next.val, i, node.next))
        return dummy.next

    def numIslands(self, grid: List[str]) -> int:
        todo = {(r, c) for r, row in enumerate(grid) for c, v in enumerate(row) if v == "1"}
        count = 0
        while todo:
            count += 1
            queue = deque([todo.pop()])
            while queue:
                r, c = queue.popleft()
                for p in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                    if p in todo:
                        todo.remove(p)
                        queue.append(p)
        return count

    def coinChange(self, coins: List[int], amount: int) -> int:
        @lru_cache(None)
        def dp(rest):
            if rest == 0:
                return 0
            return min((dp(rest - c) + 1 for c in coins if c <= rest), default=float("inf"))
        best = dp(amount)
        return -1 if best == float("inf") else best


def build(values):
    head = None
    for v in reversed(values):
        head = ListNode(v, head)
    return head


def to_list(node):
    out = []
    while node:
        out.append(node.val)
        node = node.next
    return out


s = Solution()
print(s.twoSum([2, 7, 11, 15], 9))                      # [0, 1]
print(s.lengthOfLongestSubstring("abcabcbb"))           # 3
print([s.isValid(x) for x in ("()[]{}", "([)]", "{")])  # [True, False, False]
print(s.groupAnagrams(["eat", "tea", "tan", "ate", "nat", "bat"]))
print(to_list(s.mergeKLists([build([1, 4, 5]), build([1, 3, 4]), build([2, 6]), None])))
print(s.numIslands(["11000", "11000", "00100", "00011"]))
print(s.coinChange([1, 2, 5], 11), s.coinChange([2], 3))
result = {s.coinChange([1, 5, 10], n) for n in range(20)}
result
